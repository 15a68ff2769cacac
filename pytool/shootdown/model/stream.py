"""The event stream as the model reads it: one event at a time, each knowing its predecessor."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from shootdown.trace.schema import DTYPE, Flag, Kind, Watch
from shootdown.trace.types import Events

NONE: Final = np.zeros(0, DTYPE)
"""No events."""

_CHUNK: Final = 1 << 16
_SIGN: Final = np.uint64(63)
_VA: Final = (
    ("c", (Kind.TABLE_LINK, Kind.TABLE_UNLINK)),
    ("d", (Kind.TABLE_SLOT, Kind.PTE_WRITE)),
)
_WATCHES: Final = (Kind.WATCH, Kind.WATCH_INIT)
WORDS: Final = (Watch.MM_PGD, Watch.IS_LAZY, Watch.LOADED_MM)
"""Watched words that the model itself follows."""


class Trace(Protocol):
    """What the model needs of a trace."""

    @property
    def arch(self) -> str:
        """Name of the architecture, as ``arch.get`` takes it."""
        ...

    def events(self) -> Events:
        """All events of all vCPUs, in the order of ``seq``."""
        ...


class Event(NamedTuple):
    """One record of the trace (``schema.FIELDS``), and the number of the one before it.

    ``prev`` is the ``seq`` of the same vCPU's record before this one, 0 for its first. A number is
    drawn after the access it belongs to, so an access may be older than its own number suggests;
    in program order, though, it came after the vCPU drew ``prev``.
    """

    seq: int
    icount: int
    pc: int
    a: int
    b: int
    c: int
    d: int
    kind: int
    id: int
    cpu: int
    level: int
    size: int
    flags: int
    prev: int


def previous(events: Events) -> npt.NDArray[np.uint64]:
    """For every event the ``seq`` of the same vCPU's event before it, 0 for the first."""
    prev = np.zeros(len(events), np.uint64)
    for cpu in np.unique(events["cpu"]):
        at = np.flatnonzero(events["cpu"] == cpu)
        prev[at[1:]] = events["seq"][at[:-1]]
    return prev


def stream(events: Events, kinds: Iterable[int], words: Iterable[int] = WORDS) -> Iterator[Event]:
    """The events of the given kinds, in order; the others still count as predecessors.

    Left out are page tables of the kernel's half, whose translations no rule here speaks of (E13),
    watched words (``schema.Watch``) that are not among ``words``, and accesses written at the end
    of the run for their count only (``Flag.LAST``), whose numbers say nothing about when they were.
    """
    wanted = np.isin(events["kind"], list(kinds))
    for field, kinds_with in _VA:
        wanted &= ~(np.isin(events["kind"], kinds_with) & (events[field] >> _SIGN == 1))
    wanted &= ~(np.isin(events["kind"], _WATCHES) & ~np.isin(events["id"], list(words)))
    wanted &= (events["kind"] != Kind.OBS) | (events["flags"] & Flag.LAST == 0)
    prev = previous(events)
    places = np.flatnonzero(wanted)
    for start in range(0, len(places), _CHUNK):
        chunk = places[start : start + _CHUNK]
        rows, befores = events[chunk].tolist(), prev[chunk].tolist()
        for row, before in zip(rows, befores, strict=True):
            yield Event._make((*row, before))


class Sequel:
    """Looks ahead in the trace: what a vCPU records next."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._seq = np.ascontiguousarray(events["seq"])
        self._places = {
            int(cpu): np.flatnonzero(events["cpu"] == cpu) for cpu in np.unique(events["cpu"])
        }

    def next_of(self, cpu: int, seq: int) -> Event | None:
        """The vCPU's first record after ``seq``, if there is one."""
        places = self._places.get(cpu)
        if places is None:
            return None
        after = int(np.searchsorted(self._seq, np.uint64(seq), side="right"))
        at = int(np.searchsorted(places, after))
        if at == len(places):
            return None
        before = int(self._seq[places[at - 1]]) if at else 0
        return Event._make((*self._events[places[at]].item(), before))

    def next_of_others(self, cpu: int, seq: int) -> Iterator[Event]:
        """The first record after ``seq`` of every vCPU but ``cpu``."""
        for other in self._places:
            event = self.next_of(other, seq) if other != cpu else None
            if event is not None:
                yield event
