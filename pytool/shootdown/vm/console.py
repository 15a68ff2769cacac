"""The guest's console: kept in a file up to a limit, remembered at its end, scanned for splats."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from pathlib import Path
from typing import BinaryIO

from shootdown.errors import InfraError

LIMIT = 64 * 1024 * 1024
"""Bytes of a log that are kept."""
FULL = b"\n[shootdown: the log is full, the rest is dropped]\n"
TAIL_LINES = 20
_MAX_LINE = 1024
_MAX_SPLATS = 100

# Heads of the kernel's reports of its own death or damage. A soft lockup is none: a busy host
# makes an emulated kernel suspect one.
_SPLAT = re.compile(
    r"Kernel panic|BUG: (?!soft lockup|workqueue lockup)|Oops[ :]|Internal error:"
    r"|general protection fault"
)


class CappedLog:
    """A log file that stops growing at a limit and counts what it dropped."""

    def __init__(self, path: Path, limit: int = LIMIT) -> None:
        try:
            self._file: BinaryIO = path.open("wb", buffering=0)
        except OSError as error:
            raise InfraError(f"{path} cannot be written: {error.strerror}") from error
        self._path = path
        self._room = limit
        self.dropped = 0
        """Bytes that were not written."""
        self.error: InfraError | None = None
        """Why writing failed, for instance on a full disk; nothing is written after that."""

    def write(self, data: bytes) -> None:
        """Append as much of the data as there is room for; a failure is kept in ``error``."""
        kept = data[: self._room]
        full = len(kept) < len(data) and not self.dropped
        self._room -= len(kept)
        self.dropped += len(data) - len(kept)
        try:
            self._file.write(kept + (FULL if full else b""))
        except OSError as error:
            # The writer of the log must go on: a guest waits for whoever reads its console.
            self.error = InfraError(f"{self._path} cannot be written: {error.strerror}")
            self._room = 0

    def close(self) -> None:
        """Close the file; idempotent."""
        self._file.close()


class Console:
    """Reads a guest's console until it ends."""

    def __init__(self, log: CappedLog) -> None:
        self.log = log
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._line = b""
        self.splats: list[str] = []
        """Console lines that report a panic, an oops or damage, the first hundred."""

    @property
    def tail(self) -> str:
        """The last lines, at most twenty, the one being written included."""
        return "\n".join((*self._tail, _text(self._line)) if self._line else self._tail)

    @property
    def panicked(self) -> bool:
        """Whether the kernel said that it gave up."""
        return any("Kernel panic" in line for line in self.splats)

    async def follow(self, stream: asyncio.StreamReader) -> None:
        """Take in everything up to the end of the stream, then close the log."""
        try:
            while data := await stream.read(64 * 1024):
                self.feed(data)
        finally:
            self.log.close()

    def feed(self, data: bytes) -> None:
        """Take in the next bytes."""
        self.log.write(data)
        *lines, rest = (self._line + data).split(b"\n")
        for line in lines:
            self._add(_text(line))
        self._line = rest[-_MAX_LINE:]

    def _add(self, line: str) -> None:
        if not line:
            return
        self._tail.append(line)
        if len(self.splats) < _MAX_SPLATS and _SPLAT.search(line):
            self.splats.append(line)


def _text(line: bytes) -> str:
    # Escape sequences and control characters of an untrusted guest must not reach a terminal.
    text = line[:_MAX_LINE].decode(errors="replace").rstrip()
    return "".join(c if c.isprintable() or c == "\t" else "?" for c in text)
