"""What a user has chosen and has not yet received."""
