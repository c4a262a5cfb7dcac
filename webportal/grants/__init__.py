"""The right to fetch a cart: grants, tokens, and what of them has been delivered."""
