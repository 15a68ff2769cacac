"""Which frames are pinned, from when to when, and which are only referenced (event group ``gup``).

A pin counts when it outlives the run of GUP that took it. GUP-fast takes a page, looks at the
entry and at ``write_protect_seq`` once more, and gives it back when either has changed
(mm/gup.c, ``gup_fast_pte_range()``, ``gup_fast()``); so such a pin was there before the change.
The number of a pin is drawn before the page's count goes up, that of an unpin before it goes down.

A reference without FOLL_PIN (``get``) is given back by ``put_page()``, which is not recorded: it
counts until the task returns to user mode. That is right for a read() or write() that waits for its
device, and too short for asynchronous ones. Only references for writing matter here.

What is known of a frame ends when it goes back to the allocator.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from shootdown.model import pages
from shootdown.model.gup_records import Gup, Pin
from shootdown.model.known import Known
from shootdown.model.pagetables import PAGE_SHIFT
from shootdown.model.pins import gup
from shootdown.model.running import Running
from shootdown.trace.columns import are
from shootdown.trace.schema import Kind
from shootdown.trace.types import Events

NEVER: Final = 1 << 64
"""Number of an end that was not seen."""
KINDS: Final = (
    *(Kind.ENTER, Kind.ENTER_MORE, Kind.EXIT, Kind.PROBE, Kind.RET_USER),
    *(Kind.STRUCT_PAGES, Kind.PAGE_FREED, Kind.PAGE_ALLOCATED),
)
"""Kinds of events that ``read`` needs."""
WRITE: Final = ".FOLL_WRITE"
_FRAMES: Final = 1 << 40
"""More than there can be: what lies above is no structure of a frame."""
_FEW: Final = 64
"""Frames that are looked up one by one; of more, those that are pinned are compared."""


@dataclass(slots=True, eq=False)
class Hold:
    """One page or folio that somebody took; known by its first frame."""

    pin: Pin
    frame: int
    """PA >> 12 of the head."""
    end: int = NEVER
    """Number from which on it may have been given back."""
    left: int = 0

    @property
    def seq(self) -> int:
        """Number of its beginning."""
        return self.pin.seq


@dataclass
class Pinned:
    """All holds of a trace by frame, those of pins and those of plain references."""

    pins: dict[int, list[Hold]] = field(default_factory=dict)
    gets: dict[int, list[Hold]] = field(default_factory=dict)
    freed: int = 0
    """Pins of frames that were freed all the same: the unpin was not seen."""


def held(holds: dict[int, list[Hold]], first: int, frames: int, before: int, at: int) -> list[Hold]:
    """Holds of ``frames`` frames that began before the number ``before`` and last beyond ``at``."""
    wanted: Iterable[int] = range(first, first + frames)
    if frames > _FEW:
        wanted = (frame for frame in holds if first <= frame < first + frames)
    return [
        hold
        for frame in wanted
        for hold in holds.get(frame, ())
        if hold.seq < before and hold.end > at
    ]


def read(events: Events, known: Known) -> Pinned:
    """All holds; ``events``: in the order of ``seq``, of ``KINDS`` at least."""
    found = Pinned()
    place = events[are(events["kind"], Kind.STRUCT_PAGES)]
    if not len(place) or not place["b"][0]:
        return found
    base, stride = int(place["a"][0]), int(place["b"][0])
    taken = gup(events, known)
    write = known.constants.get(WRITE, 0)
    gets = [
        Hold(pin, (pin.folio - base) // stride)
        for pin in taken.pins
        if pin.event == "get" and (not write or pin.flags & write)
    ]
    _until_return(gets, events)
    _sort(_Reader(taken, base, stride).holds(), found.pins)
    _sort(gets, found.gets)
    _until_freed(found, events)
    return found


def _sort(holds: list[Hold], by_frame: dict[int, list[Hold]]) -> None:
    for hold in holds:
        if 0 <= hold.frame < _FRAMES:
            by_frame.setdefault(hold.frame, []).append(hold)


class _Reader:
    """Pairs pins with what gives them back."""

    def __init__(self, taken: Gup, base: int, stride: int) -> None:
        self._pins = taken.pins
        self._base, self._stride = base, stride
        self._runs: dict[int, list[tuple[int, int]]] = {}
        for call in taken.calls:
            runs = self._runs.setdefault(call.task, [])
            if not runs or call.seq > runs[-1][1]:  # the outermost
                runs.append((call.seq, call.end or NEVER))
        self._open: dict[int, list[Hold]] = {}

    def holds(self) -> list[Hold]:
        """What outlived the run of GUP that took it."""
        found: list[Hold] = []
        undone: set[Hold] = set()
        for pin in self._pins:
            mine = self._open.setdefault(pin.folio, [])
            if pin.event == "pin":
                hold = Hold(pin, (pin.folio - self._base) // self._stride, left=pin.refs)
                mine.append(hold)
                found.append(hold)
            elif pin.event == "unpin":
                self._give_back(mine, pin, undone)
        return [hold for hold in found if hold not in undone]

    def _give_back(self, mine: list[Hold], pin: Pin, undone: set[Hold]) -> None:
        start = self._run(pin)
        own = [h for h in mine if start and h.pin.task == pin.task and h.seq > start]
        refs = pin.refs
        while refs > 0 and mine:
            hold = own.pop() if own else mine[0]
            taken = min(refs, hold.left)
            hold.left -= taken
            refs -= taken
            if not hold.left:
                hold.end = pin.seq
                mine.remove(hold)
                if start and hold.seq > start and hold.pin.task == pin.task:
                    undone.add(hold)

    def _run(self, pin: Pin) -> int:
        """Number of the beginning of the outermost run of GUP that ``pin`` is within; 0: none."""
        runs = self._runs.get(pin.task, [])
        at = bisect_left(runs, (pin.seq, 0)) - 1
        return runs[at][0] if at >= 0 and pin.seq < runs[at][1] else 0


def _until_return(gets: list[Hold], events: Events) -> None:
    """Plain references last until their task returns to user mode."""
    if not gets:
        return
    by_task: dict[int, list[Hold]] = {}
    for hold in gets:
        by_task.setdefault(hold.pin.task, []).append(hold)
    returns = events[are(events["kind"], Kind.RET_USER)]
    tasks = Running(events).of(returns)
    for task, mine in by_task.items():
        seqs = returns["seq"][tasks == task]
        places = np.searchsorted(seqs, np.array([hold.seq for hold in mine], np.uint64))
        for hold, at in zip(mine, places.tolist(), strict=True):
            hold.end = int(seqs[at]) if at < len(seqs) else NEVER


def _until_freed(found: Pinned, events: Events) -> None:
    """A frame that is freed is nobody's any more."""
    lives = pages.read(events)
    frames = lives["pa"] >> np.uint64(PAGE_SHIFT)
    for holds in (found.pins, found.gets):
        if not holds:
            continue
        mine = lives[np.isin(frames, np.array(list(holds), np.uint64))]
        for pa, seq in mine[["pa", "freed"]].tolist():
            for hold in holds[pa >> PAGE_SHIFT]:
                if hold.seq < seq < hold.end:
                    hold.end = seq
                    found.freed += holds is found.pins
