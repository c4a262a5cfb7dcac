"""Users and the tiers they belong to."""
