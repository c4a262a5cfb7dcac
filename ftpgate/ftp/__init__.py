"""The FTP front, on pyftpdlib's loop. Read-only; the delivery engine sends the files.

A `Session` has a `ControlConnection` (pyftpdlib's `AsyncChat`), `TlsCommands` and `DataCommands`. These have a `DataConnector`,
which a `DataConnection` comes from, and put a `FileSender` or a `ListingSender` on it.
"""

from ftpgate.ftp.server import listen, listen_tls

__all__ = ["listen", "listen_tls"]
