"""What knows no app and no model of its own: the clock, translated texts, formats, paging, addresses, processes."""
