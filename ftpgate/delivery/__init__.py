"""Delivery: what is sent, how fast, and what of it has really arrived. The same behind FTP and HTTP."""
