"""What the operating system offers on sockets."""
