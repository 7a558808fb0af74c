"""What class tables and reading cost; `python -m benchmarks.class_tables --help`, `benchmarks.reading --help`."""
