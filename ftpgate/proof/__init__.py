"""What was delivered, and what proves it. Pure: no socket, no clock, no thread."""
