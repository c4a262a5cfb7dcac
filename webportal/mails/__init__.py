"""Mails to customers: what has arrived whole, what is about to expire."""
