"""Where the extension modules are, and whether they are of the source as it is now."""

from __future__ import annotations

import hashlib
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Final

from shootdown.compiled.source import PACKAGES, path_of
from shootdown.compiled.table import COMPILED

BUILT: Final = PACKAGES / "shootdown/_compiled"
"""A directory for each build, called by what it was made of: a command that has begun with one
finds all of it, whatever is built meanwhile."""
_OURS: Final = Path(__file__).parent


def digest() -> str:
    """Of everything that extension modules are made of: sources, table, generator, this Python."""
    total = hashlib.sha256(f"{sys.implementation.cache_tag} {EXTENSION_SUFFIXES[0]}".encode())
    for path in (*sorted(map(path_of, COMPILED)), *sorted(_OURS.glob("*.py"))):
        total.update(f"{path.name}\0".encode() + (PACKAGES / path).read_bytes() + b"\0")
    return total.hexdigest()[:32]


def directory(cython: str) -> Path:
    """Where a build of the source as it is now belongs; ``cython`` is the version of Cython."""
    return BUILT / f"{digest()}-{cython}"


def built() -> Path | None:
    """Where the extension modules of the source as it is now are; None where there are none."""
    try:
        return max(BUILT.glob(f"{digest()}-*"), default=None)
    except OSError:  # a source that cannot be read: whoever imports it will say so
        return None


def extension(module: str) -> str:
    """The file name of an extension module."""
    return module + EXTENSION_SUFFIXES[0]
