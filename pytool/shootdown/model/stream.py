"""The event stream as the model reads it: one event at a time, each knowing its predecessor."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, starmap
from typing import Final, Protocol, cast

import numpy as np
import numpy.typing as npt

from shootdown.trace.columns import Columns, Fields, any_of, are, counted, joined, records
from shootdown.trace.parts import Parts, split
from shootdown.trace.schema import DTYPE, Flag, Kind, Probe, Watch
from shootdown.trace.types import Events

NONE: Final = np.zeros(0, DTYPE)
"""No events."""

_NO_NUMBERS: Final = np.zeros(0, np.uint64)
_CHUNK: Final = 1 << 14
"""Events that are made at a time."""
NEVER: Final = 1 << 64
"""A number after every event."""
_SIGN: Final = np.uint64(63)
_PAGE: Final = np.uint64(12)
_VA: Final = (
    ("c", (Kind.TABLE_LINK, Kind.TABLE_UNLINK)),
    ("d", (Kind.TABLE_SLOT, Kind.PTE_WRITE)),
)
_WATCHES: Final = (Kind.WATCH, Kind.WATCH_INIT)
_KINDS: Final = 64
_NUMBERS: Final = 1 << 16
"""Numbers that a record's ``id`` can be."""
WORDS: Final = (Watch.MM_PGD, Watch.IS_LAZY, Watch.LOADED_MM)
"""Watched words that the model itself follows."""

Mask = npt.NDArray[np.bool_]

Heeds = Callable[[bool, int], bool]
"""Whether an access (else a fault) at a page (VA >> 12) can matter to anybody now."""


class Thin(Protocol):
    """Leaves out more events than a ``Selection`` does."""

    def begin(self, window: Window) -> None:
        """A piece of the trace is about to be thinned."""
        ...

    def __call__(self, cpu: int, part: Fields, wanted: Mask) -> Mask:
        """What is left of one vCPU's events, which the mask has chosen."""
        ...


class Trace(Protocol):
    """What the model needs of a trace."""

    @property
    def arch(self) -> str:
        """Name of the architecture, as ``arch.get`` takes it."""
        ...

    def events(self) -> Events:
        """All events of all vCPUs, in the order of ``seq``."""
        ...


@dataclass(slots=True)
class Event:
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


@dataclass(frozen=True)
class Window:
    """A piece of a trace: everything up to some number that was not in a piece before."""

    parts: Parts
    """The events of each vCPU."""
    before: Mapping[int, int]
    """Number of each vCPU's last event before the piece; none when there was none."""
    ahead: Parts
    """The first event of each vCPU behind the piece; nothing when there is none."""

    @cached_property
    def columns(self) -> dict[int, Columns]:
        """The same as ``parts``, for whoever looks at fields of all events."""
        return {cpu: Columns(part) for cpu, part in self.parts.items()}


def whole(events: Events) -> Window:
    """A trace in one piece."""
    return Window(split(events), {}, {})


class Selection:
    """Which events the model is fed with.

    Left out are page tables of the kernel's half, whose translations no rule here speaks of (E13),
    watched words (``schema.Watch``) that are not among ``words``, and accesses written at the end
    of the run for their count only (``Flag.LAST``), whose numbers say nothing about when they were.
    ``thin`` may leave out more.
    """

    def __init__(
        self, kinds: Iterable[int], words: Iterable[int] = WORDS, thin: Thin | None = None
    ) -> None:
        self._kinds = np.zeros(_KINDS, np.bool_)
        self._kinds[list(kinds)] = True
        self._words = np.zeros(_NUMBERS, np.bool_)
        self._words[list(words)] = True
        self._thin = thin

    def events(self, window: Window, heeds: Heeds | None = None) -> Iterator[Event]:
        """The chosen events of a piece, in order; the others still count as predecessors.

        Of accesses and faults, ``heeds`` is asked for each when its turn has come.
        """
        rows, prevs = [], []
        if self._thin:
            self._thin.begin(window)
        for cpu, part in window.columns.items():
            at = np.flatnonzero(self._wanted(cpu, part))
            rows.append(records(window.parts[cpu], at))
            prevs.append(_previous(part["seq"], at, window.before.get(cpu, 0)))
        if not rows:
            return iter(())
        return _merged(joined(rows), np.concatenate(prevs), heeds)

    def _wanted(self, cpu: int, part: Fields) -> Mask:
        kind = part["kind"]
        wanted: Mask = self._kinds.take(kind, mode="clip")
        for field, kinds_with in _VA:
            at = np.flatnonzero(any_of(kind, kinds_with))
            wanted[at[part[field][at] >> _SIGN == 1]] = False
        at = np.flatnonzero(any_of(kind, _WATCHES))
        wanted[at[~self._words[part["id"][at]]]] = False
        at = np.flatnonzero(are(kind, Kind.OBS))
        wanted[at[part["flags"][at] & Flag.LAST != 0]] = False
        return self._thin(cpu, part, wanted) if self._thin else wanted


def _previous(
    seq: npt.NDArray[np.uint64], at: npt.NDArray[np.intp], before: int
) -> npt.NDArray[np.uint64]:
    prev = seq[at - 1]
    prev[at == 0] = before
    return prev


def _merged(events: Events, prev: npt.NDArray[np.uint64], heeds: Heeds | None) -> Iterator[Event]:
    order = np.argsort(events["seq"], kind="stable")
    chunks = (order[start : start + _CHUNK] for start in range(0, len(order), _CHUNK))
    return chain.from_iterable(
        _heeded(chosen, prev[chunk], heeds) if heeds else _made(chosen, prev[chunk])
        for chunk in chunks
        for chosen in [records(events, chunk)]
    )


def _made(events: Events, prev: npt.NDArray[np.uint64]) -> Iterator[Event]:
    columns = [events[name].tolist() for name in DTYPE.names or ()]
    return starmap(Event, zip(*columns, prev.tolist(), strict=True))


def _heeded(events: Events, prev: npt.NDArray[np.uint64], heeds: Heeds) -> Iterator[Event]:
    """The same without accesses and faults that nobody heeds: those are not even looked at."""
    return chain.from_iterable(_stretches(events, prev, heeds))


def _stretches(
    events: Events, prev: npt.NDArray[np.uint64], heeds: Heeds
) -> Iterator[Sequence[Event]]:
    """What ``_heeded`` gives, as much at a time as can be told in advance."""
    kind = events["kind"]
    access = are(kind, Kind.OBS)
    asides = access | (are(kind, Kind.PROBE) & are(events["id"], Probe.FAULT))
    at, others = np.flatnonzero(asides), np.flatnonzero(~asides)
    made = [*_made(records(events, others), prev[others])]
    heeded: list[Event] = []
    done = 0
    columns = counted(~asides)[at], access[at], events["a"][at] >> _PAGE
    rows = zip(*(column.tolist() for column in columns), strict=True)
    for number, (behind, is_access, page) in enumerate(rows):
        if behind > done:
            yield made[done:behind]
            done = behind
        if heeds(is_access, page):
            heeded = heeded or [*_made(records(events, at), prev[at])]
            yield (heeded[number],)
    yield made[done:]


def stream(events: Events, kinds: Iterable[int], words: Iterable[int] = WORDS) -> Iterator[Event]:
    """The events of a whole trace that a ``Selection`` of ``kinds`` and ``words`` chooses."""
    return Selection(kinds, words).events(whole(events))


class Sequel:
    """Looks ahead in the trace, from anywhere in one piece of it: what a vCPU records next."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self._seq = {cpu: part["seq"] for cpu, part in window.columns.items()}
        self._cpus = sorted({*window.parts, *window.ahead})
        self._turns: dict[int, tuple[list[int], list[int]]] = {}

    def next_of(self, cpu: int, seq: int) -> Event | None:
        """The vCPU's first record after ``seq``, if there is one."""
        row = self.row(cpu, seq)
        if row is None:
            return None
        seqs = self._seq.get(cpu, _NO_NUMBERS)
        at = int(seqs.searchsorted(np.uint64(seq), side="right"))
        before = int(seqs[at - 1]) if at else self._window.before.get(cpu, 0)
        return Event(*(*row.item(), before))

    def row(self, cpu: int, seq: int) -> np.void | None:
        """The same as the trace has it."""
        part = self._window.parts.get(cpu, NONE)
        at = int(self._seq.get(cpu, _NO_NUMBERS).searchsorted(np.uint64(seq), side="right"))
        if at < len(part):
            return cast(np.void, part[at])
        ahead = self._window.ahead.get(cpu, NONE)
        return cast(np.void, ahead[0]) if len(ahead) else None

    def turns_lazy(self, cpu: int, seq: int) -> tuple[bool, int]:
        """Whether the vCPU's first record after ``seq`` says that a CPU is lazy now.

        And up to which number (exclusive) the answer is the same.
        """
        turns = self._turns.get(cpu)
        if turns is None:
            turns = self._turns[cpu] = self._all_turns(cpu)
        starts, ends = turns
        at = bisect_right(starts, seq)
        if at > 0 and seq < ends[at - 1]:
            return True, ends[at - 1]
        return False, starts[at] if at < len(starts) else NEVER

    def _all_turns(self, cpu: int) -> tuple[list[int], list[int]]:
        """Numbers of the records before those that say so (0 for none), and of these themselves."""
        both = [
            self._window.columns.get(cpu, Columns(NONE)),
            Columns(self._window.ahead.get(cpu, NONE)),
        ]
        at = np.flatnonzero(np.concatenate([_says_lazy(events) for events in both]))
        seq = np.concatenate([events["seq"] for events in both])
        before = seq[at - 1]
        before[at == 0] = 0
        return before.tolist(), seq[at].tolist()

    def next_of_others(self, cpu: int, seq: int) -> Iterator[Event]:
        """The first record after ``seq`` of every vCPU but ``cpu``."""
        for other in self._cpus:
            event = self.next_of(other, seq) if other != cpu else None
            if event is not None:
                yield event


def _says_lazy(events: Fields) -> Mask:
    mask: Mask = are(events["kind"], Kind.WATCH) & are(events["id"], Watch.IS_LAZY)
    mask &= events["c"] != 0
    return mask
