"""What came of it: completions and ended transfers."""
