"""Who waits for whom at an mmap_lock, and whether the two operations touch common addresses.

A wait is a call of a slow path of the lock's rw_semaphore (kernel/locking/rwsem.c); the group
``lock_waits`` records them. A reader that takes the lock there at once, in front of those who wait
(rwsem_down_read_slowpath(), "steal"), does not wait. Who holds the lock is told by the lock word: a
writer from its acquisition to its release or downgrade, a reader from its own acquisition, or from
the end of its wait when a waker let it in, to a release by its task.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from shootdown.model.activity import KINDS, Activities, Activity
from shootdown.model.locks import Move, Transition, transitions
from shootdown.trace.columns import any_of
from shootdown.trace.functions import Function
from shootdown.trace.schema import Kind, Watch
from shootdown.trace.types import Events

_READ: Final = int(Function.rwsem_down_read_slowpath)
_WRITE: Final = int(Function.rwsem_down_write_slowpath)
_GIVEN_UP: Final = -4095 % (1 << 64)
"""Results from here up are errors: the waiter was killed."""
_TAKE: Final = (Move.READ_ACQUIRE, Move.READ_STEAL)


class Wait(NamedTuple):
    """One waiter and one holder. ``end_seq`` is 0 when the wait was not over at the end.

    ``holder`` is None when nobody was seen to hold the lock: it was let go just before.
    """

    seq: int
    icount: int
    pc: int
    cpu: int
    end_seq: int
    mm: int
    write: bool
    waiter: Activity
    holder: Activity | None

    @property
    def overlap(self) -> bool | None:
        """Whether their operations touch a common address; None when that is not known.

        Where an mmap goes is known when it has returned.
        """
        return self.waiter.overlaps(self.holder) if self.holder else None


class _Open(NamedTuple):
    seq: int
    icount: int
    pc: int
    cpu: int
    mm: int
    write: bool
    waiter: Activity
    holders: tuple[Activity, ...]


def waits(events: Events, numbers: Mapping[str, int]) -> list[Wait]:
    """Every wait for an mmap_lock, a row for each holder, in the order of their beginnings.

    ``numbers``: of system calls, by name (``arch.kernel.syscalls``). Empty where the group
    ``lock_waits`` was not recorded.
    """
    return sorted(_Follower(events, numbers).run(events), key=lambda wait: wait.seq)


def locks_of(events: Events) -> dict[int, int]:
    """The mm_struct of every mmap_lock that was watched, by the VA of the rw_semaphore."""
    armed = events[events["kind"] == Kind.ARMED]
    words = events[(events["kind"] == Kind.WATCH_INIT) & (events["id"] == Watch.MMAP_LOCK)]
    if not len(armed):
        return {}
    linear = int(armed["a"][0]) - int(armed["b"][0])
    pairs = np.unique(np.stack([words["a"], words["d"]], axis=1), axis=0).tolist()
    return {(pa + linear) % (1 << 64): mm for pa, mm in pairs}


_Item = tuple[int, tuple[int, ...], Transition | None]


def _seq(item: _Item) -> int:
    return item[0]


class _Follower:
    def __init__(self, events: Events, numbers: Mapping[str, int]) -> None:
        self._mm = locks_of(events)
        self._doing = Activities(numbers)
        self._held: dict[int, dict[int, Activity]] = {}
        self._open: dict[int, _Open] = {}
        self._stole: dict[int, int] = {}
        """By CPU, the mm whose lock it stole, until it does something else with one."""

    def run(self, events: Events) -> Iterator[Wait]:
        for _, row, move in heapq.merge(self._rows(events), self._moves(events), key=_seq):
            if move:
                self._move(move)
            else:
                yield from self._event(*row)
        for sp in list(self._open):
            yield from self._end(self._open.pop(sp), 0, done=False)

    @staticmethod
    def _rows(events: Events) -> Iterator[_Item]:
        slow = any_of(events["kind"], (Kind.ENTER, Kind.EXIT))
        slow &= any_of(events["id"], (_READ, _WRITE))
        kept = events[slow | any_of(events["kind"], KINDS)]
        for row in kept[["seq", "icount", "pc", "kind", "id", "cpu", *"abcd"]].tolist():
            yield row[0], row, None

    @staticmethod
    def _moves(events: Events) -> Iterator[_Item]:
        for move in sorted(transitions(events).transitions, key=lambda move: move.seq):
            yield move.seq, (), move

    def _event(self, *row: int) -> Iterator[Wait]:
        seq, icount, pc, kind, number, cpu, a, b, c, d = row
        if kind == Kind.ENTER:
            mm = self._mm.get(b)
            if mm is not None and self._stole.get(cpu) != mm:
                holders = tuple(self._held.get(mm, {}).values())
                self._open[a] = _Open(
                    seq, icount, pc, cpu, mm, number == _WRITE, self._doing.of(cpu), holders
                )
        elif kind == Kind.EXIT:
            wait = self._open.pop(a, None)
            if wait is not None:
                yield from self._end(wait, seq, done=b < _GIVEN_UP)
        else:
            self._doing.event(kind, number, cpu, (a, b, c, d))

    def _end(self, wait: _Open, seq: int, *, done: bool) -> Iterator[Wait]:
        if done:
            self._held.setdefault(wait.mm, {})[wait.waiter.task] = wait.waiter
        others = [one for one in wait.holders if one.task != wait.waiter.task]
        for holder in others or (None,):
            yield Wait(*wait[:4], seq, wait.mm, wait.write, wait.waiter, holder)

    def _move(self, move: Transition) -> None:
        held = self._held.setdefault(move.lock, {})
        doing = self._doing.of(move.cpu)
        self._stole[move.cpu] = move.lock if move.move is Move.READ_STEAL else 0
        if move.move is Move.WRITE_ACQUIRE:
            held.clear()
            held[doing.task] = doing
        elif move.move in _TAKE:
            held[doing.task] = doing
        elif move.move is Move.WRITE_RELEASE:
            held.clear()
        elif move.move is Move.READ_RELEASE:
            held.pop(doing.task, None)


def table(found: list[Wait]) -> npt.NDArray[np.void]:
    """The waits as rows of ``ROW``; unknown tasks, ranges and operations are 0 and empty."""
    return np.array([_flat(wait) for wait in found], ROW)


_SIDE: Final = (("task", "<u8"), ("pid", "<u4"), ("does", "O"), ("start", "<u8"), ("end", "<u8"))
ROW: Final = np.dtype(
    [("seq", "<u8"), ("icount", "<u8"), ("pc", "<u8"), ("cpu", "u1"), ("end_seq", "<u8")]
    + [("mm", "<u8"), ("write", "?"), ("overlap", "O")]
    + [(f"{side}_{name}", kind) for side in ("waiter", "holder") for name, kind in _SIDE]
)


def _flat(wait: Wait) -> tuple[object, ...]:
    overlap = {None: "unknown", True: "yes", False: "no"}[wait.overlap]
    sides = (*_side(wait.waiter), *_side(wait.holder))
    return (*wait[:7], overlap, *sides)


def _side(doing: Activity | None) -> tuple[object, ...]:
    if doing is None:
        return 0, 0, "", 0, 0
    starts, ends = [a for a, _ in doing.ranges], [b for _, b in doing.ranges]
    return doing.task, doing.pid, doing.name, min(starts, default=0), max(ends, default=0)
