"""Class tables: one row per identity, outside of any data-parallel engine."""
