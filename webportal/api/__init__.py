"""The REST API for other shops."""
