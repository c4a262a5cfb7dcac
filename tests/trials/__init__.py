"""Measurements of delivery truth: storms of clients that know what they have read, counted with bounds; `make trials`."""
