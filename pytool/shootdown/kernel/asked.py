"""Symbols that a running kernel was asked for: what its /proc/kallsyms said.

For kernels whose files give none. Kept in the cache, under the SHA-256 of the boot image;
``run.ask`` boots the guest.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import NamedTemporaryFile

from shootdown.kernel.cache import sha256

_PLACE = "asked"


def find(image: Path, cache: Path) -> Path | None:
    """The file with the lines of /proc/kallsyms of that image; None if nobody asked. OSError."""
    shelf = cache / _PLACE
    if not shelf.is_dir():  # nobody ever asked: the image need not be read
        return None
    path = shelf / sha256(image)
    return path if path.is_file() else None


def keep(image: Path, cache: Path, text: str) -> Path:
    """Keep the lines of /proc/kallsyms for that image, and return the file. OSError."""
    shelf = cache / _PLACE
    shelf.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile("w", dir=shelf, prefix=".", delete=False) as file:
        file.write(text)
    return Path(file.name).replace(shelf / sha256(image))
