"""The gate as a process: its loop, its threads, its signals and its log."""
