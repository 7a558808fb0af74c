"""How well embeddings verify people."""
