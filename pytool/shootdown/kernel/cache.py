"""The cache outside the repository: where it is, who may write it, and whether an entry is whole.

An entry is a directory whose ``manifest.json`` names the SHA-256 of every other file in it. The
manifest is written last, so a directory without one, or one that disagrees, is no entry.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Final, TypeAlias

MANIFEST = "manifest.json"
_Version: TypeAlias = tuple[int, int, int, int]
"""Device, inode, bytes and time of modification of a file."""


def cache_root() -> Path:
    """Directory of everything fetched: ``SHOOTDOWN_CACHE``, else shootdown's in the XDG cache."""
    if own := os.environ.get("SHOOTDOWN_CACHE"):
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "shootdown"


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Hold the lock file ``path`` against other processes; ``what`` is said if that takes waiting.

    The kernel drops the lock with the process, so a killed holder leaves nothing to clean up.
    Raises OSError if the lock file cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for another process: {what}", file=sys.stderr, flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def read_json(path: Path) -> dict[str, Any] | None:
    """The JSON object in ``path``; None if there is no file, or it holds anything else."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Replace ``path`` by the JSON object ``value``, whole or not at all. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        json.dump(value, file, indent=1)
        file.write("\n")
    Path(file.name).replace(path)


def seal(staged: Path, entry: Path, about: Mapping[str, Any]) -> None:
    """Move the files of ``staged`` into the directory ``entry`` and declare it whole.

    Both lie on one file system. Each file is replaced at once and the manifest comes last: a
    reader sees the old file or the new one, and a killed writer leaves no valid entry.
    Raises OSError.
    """
    sums = {file.name: sha256(file) for file in sorted(staged.iterdir())}
    entry.mkdir(parents=True, exist_ok=True)
    (entry / MANIFEST).unlink(missing_ok=True)
    for name in sums:
        (staged / name).replace(entry / name)
    write_json(entry / MANIFEST, {**about, "files": sums})


def whole(entry: Path) -> dict[str, Any] | None:
    """The manifest of ``entry`` if every file it names is there and unchanged, else None."""
    about = read_json(entry / MANIFEST)
    sums = about.get("files") if about else None
    if not isinstance(sums, dict) or not sums:
        return None
    try:
        unchanged = all(sha256(entry / name) == digest for name, digest in sums.items())
    except OSError:
        return None
    return about if unchanged else None


_looked: Final[ContextVar[dict[_Version, str] | None]] = ContextVar("looked", default=None)
"""What ``sha256`` has said in the outermost ``looked_once``."""


@contextmanager
def looked_once() -> Iterator[None]:
    """Within, ``sha256`` reads each file once: for one piece of work, such as a trial.

    A file's times do not prove that it is unchanged, so no longer than that. One that is replaced
    meanwhile is read again.
    """
    outer = _looked.get()
    token = _looked.set({} if outer is None else outer)
    try:
        yield
    finally:
        _looked.reset(token)


def sha256(path: Path) -> str:
    """SHA-256 of the contents of ``path``, in hex; read at each use, but see ``looked_once``.

    Raises OSError.
    """
    with path.open("rb") as file:
        known = _looked.get()
        if known is None:
            return hashlib.file_digest(file, "sha256").hexdigest()
        at = os.fstat(file.fileno())
        version = at.st_dev, at.st_ino, at.st_size, at.st_mtime_ns
        if version not in known:
            known[version] = hashlib.file_digest(file, "sha256").hexdigest()
        return known[version]
