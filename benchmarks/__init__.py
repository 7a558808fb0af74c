"""What the class tables cost: time, bytes sent, memory; `python -m benchmarks.class_tables --help`."""
