"""The guest's file system: a cpio archive that the kernel unpacks into its first root.

The format is "newc" (``Documentation/driver-api/early-userspace/buffer-format.rst`` of the
kernel). Archives are reproducible: names sorted, times zero, everything owned by root,
inodes numbered in order of appearance.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final

from shootdown.errors import InfraError, UsageError

_DIRECTORIES: Final = ("dev", "proc", "root", "sys", "tmp")
_CONSOLE: Final = (5, 1)
_BLOCK: Final = 512
"""Archives are padded to this many bytes, as cpio(1) does."""


@dataclass(frozen=True)
class _Entry:
    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)
    """Major and minor number, of device nodes."""


def build(
    out: Path,
    agent: Path,
    extra: Sequence[tuple[str, Path]] = (),
    rootfs: Path | None = None,
) -> Path:
    """Write the archive ``out`` and return it.

    ``agent`` becomes ``/init``. ``extra`` adds files as (absolute path in the guest, file of
    the host), executable where the host's file is. ``rootfs`` is a directory whose content is
    added first, so that the others win; its symbolic links stay links.

    Raises UsageError for a path that cannot be read or makes no sense in the guest, InfraError
    when ``agent`` is missing or ``out`` cannot be written.
    """
    entries: dict[str, _Entry] = {}
    if rootfs is not None:
        _add_tree(entries, rootfs)
    for name in _DIRECTORIES:
        _add(entries, name, _Entry(stat.S_IFDIR | 0o755))
    _add(entries, "dev/console", _Entry(stat.S_IFCHR | 0o600, device=_CONSOLE))
    for target, source in extra:
        _add(entries, _guest_name(target), _regular(source))
    if not agent.is_file():
        raise InfraError(f"the guest's agent {agent} is missing: build it with 'make guest'")
    _add(entries, "init", _Entry(stat.S_IFREG | 0o755, _read(agent)))
    try:
        with out.open("wb") as stream:
            _write(stream, entries)
    except OSError as error:
        raise InfraError(f"cannot write the initramfs {out}: {error.strerror}") from error
    return out


def _guest_name(target: str) -> str:
    """Return the archive's name of an absolute path in the guest."""
    path = PurePosixPath(target)
    if not path.is_absolute() or path.name in ("", "..") or ".." in path.parts or "\0" in target:
        raise UsageError(f"'{target}' is no place in the guest: give an absolute path of a file")
    return str(path).lstrip("/")


def _read(source: Path) -> bytes:
    try:
        return source.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {source} for the guest: {error.strerror}") from error


def _regular(source: Path) -> _Entry:
    if not source.is_file():
        raise UsageError(f"{source}, to be put into the guest, is no regular file: check the path")
    executable = source.stat().st_mode & 0o111
    return _Entry(stat.S_IFREG | (0o755 if executable else 0o644), _read(source))


def _add(entries: dict[str, _Entry], name: str, entry: _Entry) -> None:
    """Add an entry and the directories above it."""
    for parent in reversed(PurePosixPath(name).parents[:-1]):
        above = entries.setdefault(str(parent), _Entry(stat.S_IFDIR | 0o755))
        if not stat.S_ISDIR(above.mode):
            raise UsageError(f"'/{name}' cannot be in the guest: '/{parent}' is no directory there")
    old = entries.get(name)
    if old is not None and stat.S_ISDIR(old.mode) != stat.S_ISDIR(entry.mode):
        raise UsageError(f"'/{name}' would be both a file and a directory in the guest: rename one")
    entries[name] = entry


def _add_tree(entries: dict[str, _Entry], root: Path) -> None:
    if not root.is_dir():
        raise UsageError(f"the root file system {root} is no directory: check the path")
    for directory, directories, files in os.walk(root, onerror=_refuse):
        for name in sorted(directories + files):
            source = Path(directory, name)
            _add(entries, source.relative_to(root).as_posix(), _tree_entry(source))


def _refuse(error: OSError) -> None:
    raise UsageError(f"cannot read {error.filename} for the guest: {error.strerror}") from error


def _tree_entry(source: Path) -> _Entry:
    mode = source.lstat().st_mode
    if stat.S_ISLNK(mode):
        return _Entry(stat.S_IFLNK | 0o777, os.fsencode(source.readlink()))
    if stat.S_ISDIR(mode):
        return _Entry(stat.S_IFDIR | 0o755)
    return _regular(source)


def _write(stream: BinaryIO, entries: dict[str, _Entry]) -> None:
    """Write all entries, sorted: a directory comes before what is in it."""
    for inode, name in enumerate(sorted(entries), 1):
        _write_entry(stream, inode, name, entries[name])
    _write_entry(stream, 0, "TRAILER!!!", _Entry(0))
    stream.write(bytes(-stream.tell() % _BLOCK))


def _write_entry(stream: BinaryIO, inode: int, name: str, entry: _Entry) -> None:
    encoded = os.fsencode(name) + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    numbers = (
        *(inode, entry.mode, 0, 0, links, 0, len(entry.data)),  # uid, gid and mtime are 0
        *(0, 0, *entry.device),  # device it lies on, device it is
        *(len(encoded), 0),  # no check sum
    )
    header = b"070701" + b"".join(b"%08X" % number for number in numbers)
    for part in (header + encoded, entry.data):
        stream.write(part + bytes(-len(part) % 4))
