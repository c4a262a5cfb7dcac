"""Webhooks: what happens to a shop's grants is written down with it, and told to the shop's endpoints until they answer."""
