"""The FTP front: read-only, on pyftpdlib's handler and loop, its data channels driven by the delivery engine."""

from ftpgate.ftp.server import listen, listen_tls

__all__ = ["listen", "listen_tls"]
