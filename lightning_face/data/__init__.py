"""Reading shards in an exact order."""
