"""What the shop offers: items, their files, and how they are imported."""
