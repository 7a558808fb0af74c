"""Distributed training of face embeddings with center loss and Minimum Margin Loss."""
