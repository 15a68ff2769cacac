"""When the content of a file is looked at."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from shootdown.kernel.cache import looked_once, sha256


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def alter(path: Path, content: bytes) -> None:
    """Another content of the same length, and nothing that tells of it."""
    times = path.stat()
    with path.open("r+b") as file:
        file.write(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_content_counts_and_no_time(tmp_path: Path) -> None:
    path = tmp_path / "vmlinuz"
    path.write_bytes(b"old")
    assert sha256(path) == digest(b"old")
    alter(path, b"new")
    assert sha256(path) == digest(b"new")


def test_a_piece_of_work_looks_once(tmp_path: Path) -> None:
    path = tmp_path / "vmlinuz"
    path.write_bytes(b"old")
    with looked_once():
        with looked_once():
            assert sha256(path) == digest(b"old")
        alter(path, b"new")
        assert sha256(path) == digest(b"old")
    assert sha256(path) == digest(b"new")
    with looked_once():
        assert sha256(path) == digest(b"new")


def test_what_is_replaced_meanwhile_is_read_again(tmp_path: Path) -> None:
    path, other = tmp_path / "vmlinuz", tmp_path / "other"
    path.write_bytes(b"old")
    other.write_bytes(b"new")
    with looked_once():
        assert sha256(path) == digest(b"old")
        other.replace(path)
        assert sha256(path) == digest(b"new")
