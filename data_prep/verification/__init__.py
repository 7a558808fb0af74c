"""Datasets with pairs, from lists of pairs and from pickled files."""
