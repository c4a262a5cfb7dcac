"""Who may come in: tokens and the grants that they open, cached; wrong tokens, counted."""
