"""How the shop is doing, for staff: figures, plots, gates."""
