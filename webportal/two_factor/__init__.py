"""What is asked besides a password: codes of an app, passkeys, recovery codes."""
