"""Benchmarks: the gate beside what would otherwise be picked, on one machine, in one run. `python -m tests.bench --help`."""
