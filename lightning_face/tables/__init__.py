"""Class tables: one row per identity, or a few, outside of any data-parallel engine."""
