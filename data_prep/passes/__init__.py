"""A source becomes a dataset in two passes: gather its faces, then select among them and shuffle."""
