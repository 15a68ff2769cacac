"""A trace that is still being written: what of it may be judged already.

Every event has a number of its own and no number is left out, so the numbers tell by themselves how
far all vCPUs' events have come: up to the first number that no file has. A vCPU that records
nothing, because it sleeps or runs on in user mode, holds nobody up. One that keeps records in its
buffer does, for as long as the plugin lets it (plugin/live.c).
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple, Self

import numpy as np

from shootdown.trace.columns import any_of, joined
from shootdown.trace.parts import PIECE, Parts
from shootdown.trace.schema import DTYPE, HEADER_BYTES, RECORD_BYTES, Kind
from shootdown.trace.types import Events

_NAME: Final = re.compile(r"cpu(0|[1-9][0-9]*)\.trace")
_NONE: Final = np.zeros(0, DTYPE)


class Stretch(NamedTuple):
    """All events between two numbers."""

    parts: Parts
    """The events of each vCPU."""
    before: Mapping[int, int]
    """Number of each vCPU's last event before them; none when there was none."""
    ahead: Parts
    """The first event of each vCPU behind them; none where it is not known yet."""


class Follower:
    """Reads the files ``cpu<N>.trace`` of a directory while they grow.

    ``piece`` is how many events are held at a time, about, and ``first`` the number that the trace
    begins with. A stretch ends where the next event of every vCPU is known, but no vCPU is waited
    for that has recorded nothing for ``patience`` seconds. What the files hold is taken as it is:
    ``trace.reader`` checks it when it is complete. Raises OSError when a file cannot be read.
    """

    def __init__(
        self,
        directory: Path,
        *,
        patience: float,
        piece: int = PIECE,
        first: int = 0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory: Final = directory
        self._patience: Final = patience
        self._piece: Final = piece
        self._now: Final = now
        self._files: dict[int, int] = {}
        self._held: dict[int, Events] = {}
        """Read and not handed out."""
        self._offset: dict[int, int] = {}
        self._more: dict[int, bool] = {}
        """Whether a file held more than was read last time."""
        self._news: dict[int, float] = {}
        """When a vCPU's last event was read."""
        self._before: dict[int, int] = {}
        self._next = first
        """The first number that was not handed out."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            os.close(file)

    def stretch(self, *, ended: bool = False) -> Stretch | None:
        """The next events that may be judged; None when there are none yet.

        ``ended``: nobody writes any more. Then all of them come, whatever numbers are missing,
        and None means that there are no more.
        """
        while self._read():
            pass
        cut = min(self._end() if ended else self._known(), self._foreseen(ended))
        at = {cpu: int(held["seq"].searchsorted(cut)) for cpu, held in self._held.items()}
        if not any(at.values()):
            return None
        parts = {cpu: self._held[cpu][:n] for cpu, n in at.items()}
        before = dict(self._before)
        self._before |= {cpu: int(part["seq"][-1]) for cpu, part in parts.items() if len(part)}
        self._held = {cpu: held[at[cpu] :] for cpu, held in self._held.items()}
        self._next = int(cut)
        return Stretch(parts, before, {cpu: held[:1] for cpu, held in self._held.items()})

    def _read(self) -> bool:
        """Take in what has come, a share of the piece for each vCPU at most.

        Whether a vCPU has less than its share although its file had more.
        """
        self._open()
        share = max(2, self._piece // max(len(self._files), 1))
        for cpu, file in self._files.items():
            room = share - len(self._held[cpu])
            data = os.pread(file, room * RECORD_BYTES, self._offset[cpu]) if room > 0 else b""
            count = len(data) // RECORD_BYTES
            self._more[cpu] = count == max(room, 0)
            if not count:
                continue
            self._offset[cpu] += count * RECORD_BYTES
            self._news[cpu] = self._now()
            found = np.frombuffer(data, DTYPE, count)
            found = found[~any_of(found["kind"], (Kind.COUNT, Kind.TRAILER))]
            self._held[cpu] = joined([self._held[cpu], found])
        return any(more and len(self._held[cpu]) < share for cpu, more in self._more.items())

    def _open(self) -> None:
        for entry in os.scandir(self._directory):
            name = _NAME.fullmatch(entry.name)
            if name and int(name[1]) not in self._files:
                cpu = int(name[1])
                self._files[cpu] = os.open(entry.path, os.O_RDONLY | os.O_CLOEXEC)
                self._held[cpu], self._offset[cpu] = _NONE, HEADER_BYTES
                self._news[cpu] = self._now()

    def _known(self) -> np.uint64:
        """The first number that was not read."""
        seqs = np.sort(np.concatenate([_NONE["seq"], *(h["seq"] for h in self._held.values())]))
        if not len(seqs) or int(seqs[0]) > self._next:
            return np.uint64(0)
        gaps = np.flatnonzero(np.diff(seqs) != 1)
        last = gaps[0] if len(gaps) else -1
        return np.uint64(int(seqs[last]) + 1)

    def _end(self) -> np.uint64:
        """The first number that a file with more to read may still hold."""
        ends = [
            int(held["seq"][-1]) + 1
            for cpu, held in self._held.items()
            if self._more[cpu] and len(held)
        ]
        return np.uint64(min(ends, default=2**64 - 1))

    def _foreseen(self, ended: bool) -> np.uint64:
        """The end of what has a next event on every vCPU that is waited for."""
        now = self._now()
        ends = []
        for cpu, held in self._held.items():
            silent = now - self._news[cpu] > self._patience
            if not (silent or ended) or (self._more[cpu] and len(held)):
                ends.append(int(held["seq"][-1]) if len(held) else 0)
        return np.uint64(min(ends, default=2**64 - 1))
