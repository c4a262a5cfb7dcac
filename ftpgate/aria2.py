"""aria2 for all files of a grant: a list of them, and the two commands that fetch the list and then what is in it. Pure."""

from __future__ import annotations

LIST = "aria2.txt"
"""The list, below the grant's root. It has the names as they are: from a Metalink aria2 1.36 saves `A & B` as `A &#38; B`."""

PIECES = ("-c", "-x16", "-s16", "-k1M")
"""A file in up to 16 pieces; what is there of it is kept."""


def commands(http: str) -> tuple[list[str], list[str]]:
    """The words of both; none needs quotes in any shell. The same again go on where they stopped.

    Three files at a time, so that with 16 pieces each they stay below the connections of a usual tier.

    Args:
        http: where the grant's root is, with a slash at its end.
    """
    fetch_list = ["aria2c", "--allow-overwrite=true", "--auto-file-renaming=false", "-o", LIST, http + LIST]
    return fetch_list, ["aria2c", *PIECES, "-j3", "-i", LIST]
