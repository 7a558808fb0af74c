"""A dataset of generated faces."""
