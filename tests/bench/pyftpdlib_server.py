"""A bare pyftpdlib that serves a folder to anonymous users: python -m tests.bench.pyftpdlib_server PORT FOLDER"""

from __future__ import annotations

import logging
import resource
import sys

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import FTPServer


def main() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    logging.basicConfig(level=logging.ERROR)
    authorizer = DummyAuthorizer()
    authorizer.add_anonymous(sys.argv[2])
    handler = type("Handler", (FTPHandler,), {"authorizer": authorizer})
    server = FTPServer(("127.0.0.1", int(sys.argv[1])), handler, backlog=4096)
    server.max_cons = 0
    server.serve_forever()


if __name__ == "__main__":
    main()
