"""`ftpgate` and `python -m ftpgate`."""

import sys

from ftpgate import private
from ftpgate.cli import run


def main() -> None:
    private.keep_private()
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
