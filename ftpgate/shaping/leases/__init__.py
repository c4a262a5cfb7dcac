"""One rate and one number of connections for a customer whom several gates serve."""
