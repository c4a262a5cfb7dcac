"""ftpgate: controlled downloads over FTP and HTTP, with speed limits per customer and proof of delivery."""

__version__ = "0.2.0"
