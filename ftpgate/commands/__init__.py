"""What the commands do that is more than one call; `ftpgate.cli` holds their grammar."""
