"""Opens a recorded trace: one mapped array per vCPU, and all of them in one order."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import cached_property, reduce
from operator import add
from pathlib import Path
from typing import Final

import numpy as np

from shootdown.errors import InconclusiveError, InfraError, UsageError
from shootdown.trace.columns import any_of, merged
from shootdown.trace.file import CpuFile, Trailer, give_back, open_file
from shootdown.trace.parts import PIECE, pieces
from shootdown.trace.schema import Kind
from shootdown.trace.types import Events

_NAME: Final = re.compile(r"cpu(0|[1-9][0-9]*)\.trace")


class Trace:
    """A trace directory, open for reading.

    Nothing is copied until it is asked for: ``per_cpu`` are views of the mapped files.
    Trailer records are not among the events; ``trailer`` has what they say.
    """

    def __init__(self, path: Path) -> None:
        """Open the directory ``path`` with the files ``cpu<N>.trace``.

        Raises UsageError when there is no such directory, InfraError when a file is
        missing, foreign, of another version or damaged, InconclusiveError when no event
        was recorded.
        """
        self.path = path
        self.files: Final[tuple[CpuFile, ...]] = _open(path)
        self.per_cpu: Final[tuple[Events, ...]] = tuple(file.events for file in self.files)
        """Events of each vCPU, by its index, ``seq`` rising."""
        if not len(self):
            raise InconclusiveError(
                f"the trace {path} is empty: recording never began, so nothing can be said"
            )

    def __len__(self) -> int:
        return sum(map(len, self.per_cpu))

    @property
    def cpus(self) -> int:
        """Number of vCPUs."""
        return len(self.files)

    @property
    def slide(self) -> int:
        """Bytes that KASLR added to the VAs of the kernel's image.

        PCs in the image are as it was linked; VAs that the kernel handles are as it has them.
        """
        return self.files[0].slide

    @property
    def complete(self) -> bool:
        """Whether every file ends with its trailer, that is, no writer was killed."""
        return all(file.trailer for file in self.files)

    @cached_property
    def trailer(self) -> Trailer:
        """The sum of what the trailers say; files without one add nothing."""
        return reduce(add, (file.trailer for file in self.files if file.trailer), Trailer())

    @property
    def lost(self) -> int:
        """Events that the writers know they lost; a killed writer does not say."""
        return self.trailer.lost

    @cached_property
    def gaps(self) -> tuple[tuple[int, int], ...]:
        """Sequence numbers that no record has: ranges of first (inclusive) and end (exclusive).

        With every file complete and nothing lost there is none; otherwise evidence is
        missing there. Raises InfraError when a number was given twice.
        """
        found: list[tuple[int, int]] = []
        last: list[int] = []
        for parts in pieces({file.cpu: file.records for file in self.files}):
            seq = np.sort(np.concatenate([part["seq"] for part in parts.values()]))
            steps = np.diff(seq, prepend=np.array(last, np.uint64))
            if np.any(steps == 0):
                raise InfraError(
                    f"the trace {self.path} is damaged: a sequence number occurs twice; "
                    "record again"
                )
            seq = np.concatenate([np.array(last, np.uint64), seq])
            before = np.flatnonzero(steps > 1)
            found += zip((seq[before] + 1).tolist(), seq[before + 1].tolist(), strict=True)
            last = [int(seq[-1])]
            self.release()
        return tuple(found)

    def release(self) -> None:
        """Give back the memory that reading has filled; the events stay readable."""
        for file in self.files:
            give_back(file.pages)

    def counts(self) -> dict[Kind, int]:
        """Number of events of each kind that occurs."""
        total: Counter[Kind] = Counter()
        for file in self.files:
            total.update(file.counts)
        return dict(sorted(total.items()))

    def events(self) -> Events:
        """All events in the order of ``seq``, as a copy in memory (64 bytes an event)."""
        return merged(self.per_cpu)

    def select(self, *kinds: Kind) -> Events:
        """The events of some kinds in the order of ``seq``, as a copy in memory."""
        return merged([events[any_of(events["kind"], kinds)] for events in self.per_cpu])

    def iter_chunks(self, n: int = PIECE) -> Iterator[Events]:
        """All events in the order of ``seq``, in pieces of at most about ``n``.

        Only one piece is in memory at a time (``pieces``).
        """
        for parts in pieces(dict(enumerate(self.per_cpu)), n):
            yield merged(parts.values())


def _open(path: Path) -> tuple[CpuFile, ...]:
    if not path.is_dir():
        raise UsageError(f"there is no trace directory {path}")
    found = sorted(int(m[1]) for entry in path.iterdir() if (m := _NAME.fullmatch(entry.name)))
    if not found:
        raise InconclusiveError(
            f"the trace {path} holds no cpu<N>.trace file: recording never began"
        )
    if found != list(range(len(found))):
        missing = min(set(range(len(found))) - set(found))
        raise InfraError(f"{path / f'cpu{missing}.trace'} is missing: the trace is not whole")
    return tuple(open_file(path / f"cpu{cpu}.trace", cpu) for cpu in found)
