"""Files to deliver: exact sizes, contents that do not compress, names that trip clients."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

_CHUNK = 1 << 20

# Each has tripped a client, a URL or a shell somewhere. Legal on Windows, macOS and Linux.
NASTY_NAMES = (
    "01 plain name.ogg",
    "02 [brackets] (and) {braces}.ogg",
    "03 #hash 100% %41 & more.ogg",
    "04 Песня о Ёлке.ogg",
    "05 it's + a ; semi, comma = 1.ogg",
)


def write_file(path: Path, size: int, seed: object = None) -> Path:
    """A file of `size` bytes that look random, the same for the same seed (its name when None). Makes the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    key = hashlib.sha256(f"{path.name if seed is None else seed}".encode()).digest()
    stream = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()  # four times as fast as Python's generator
    with path.open("wb") as file:
        for start in range(0, size, _CHUNK):
            file.write(stream.update(bytes(min(_CHUNK, size - start))))
    return path


def write_album(folder: Path, files: Mapping[str, int], seed: object = None) -> Path:
    """A folder of such files.

    Args:
        folder: where; made when it is not there.
        files: path in the folder -> bytes; `{"CD1/01.ogg": 1_000_000}`.
        seed: albums of different seeds differ in every file.
    """
    for name, size in files.items():
        write_file(folder / name, size, f"{seed}/{name}")
    return folder


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hashes(folder: Path) -> dict[str, str]:
    """Path in the folder, with `/` -> SHA-256, of every file below it."""
    return {path.relative_to(folder).as_posix(): sha256(path) for path in sorted(folder.rglob("*")) if path.is_file()}
