"""User faults for which no VMA was found, and whether there was one all the time.

VMAs come and go only while mmap_lock is held to write, so what a lookup may find is what there is
while nobody holds it so. Such moments are known by number: the taking of the lock is numbered
before any change, and its release behind them all. Of a fault, those count from the last one before
it began to the first one after it ended, so a number that was drawn late only adds to them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Final, NamedTuple

import numpy as np

from shootdown.model.faults import Fault
from shootdown.model.history import History
from shootdown.model.locks import WRITER
from shootdown.model.mmap_writers import holders
from shootdown.model.running import Running
from shootdown.model.vmas import Step
from shootdown.trace.columns import are
from shootdown.trace.schema import Kind, Probe, Watch
from shootdown.trace.types import Events

Mapped = dict[int, Step]
"""VMAs of one mm, by their addresses."""
_GONE: Final = ("free", "release")


@dataclass(slots=True)
class Refusal:
    """One such fault."""

    fault: Fault
    mm: int
    mapped: bool = True
    """Whether at all of those moments a VMA was around the address."""
    ended: bool = False
    seqs: list[int] = field(default_factory=list)
    """Numbers of the moments."""


class _Switch(NamedTuple):
    seq: int
    pid: int
    mm: int


def refusals(history: History) -> list[Refusal]:
    """Every fault of a task that went on in user mode; ``history``: of all kinds.

    A task that is killed while it waits for mmap_lock is told that there is no VMA.
    """
    events = history.events
    switches = _switches(events)
    returns = events[are(events["kind"], Kind.RET_USER)]
    by_task: dict[int, list[int]] = {}
    for seq, task in zip(
        returns["seq"].tolist(), holders(Running(events), returns).tolist(), strict=True
    ):
        by_task.setdefault(task, []).append(seq)
    found: list[Refusal] = []
    for fault in history.faults.faults:
        if not fault.access.user or not fault.end or not fault.tries:
            continue
        known = switches.get(fault.task, [])
        after = by_task.get(fault.task, [])
        at = bisect_right(after, fault.end)
        before = _last(known, fault.seq)
        if fault.tries[-1][1] or before is None or at == len(after):
            continue
        then = _last(known, after[at])
        if then is not None and then.pid == before.pid and before.mm:
            found.append(Refusal(fault, before.mm))
    if found:
        _Sweep().run(history, found)
    return found


def _switches(events: Events) -> dict[int, list[_Switch]]:
    rows = events[are(events["kind"], Kind.PROBE) & are(events["id"], Probe.TASK_SWITCH)]
    found: dict[int, list[_Switch]] = {}
    for seq, task, pid, mm in rows[["seq", "a", "b", "d"]].tolist():
        found.setdefault(task, []).append(_Switch(seq, pid, mm))
    return found


def _last(switches: list[_Switch], seq: int) -> _Switch | None:
    at = bisect_right(switches, seq, key=lambda switch: switch.seq)
    return switches[at - 1] if at else None


class _Sweep:
    def __init__(self) -> None:
        self._mapped: dict[int, Mapped] = {}
        self._mm_of: dict[int, int] = {}
        self._stable: dict[int, Mapped] = {}
        """By mm, what was mapped when the lock was taken that is held to write now."""
        self._writer: dict[int, int] = {}
        self._open: dict[int, list[Refusal]] = {}

    def run(self, history: History, found: list[Refusal]) -> None:
        """Find out about all of them."""
        doings: list[tuple[int, Callable[[int], None]]] = [*self._locks(history.events)]
        for step in history.vmas:
            doings.append((step.seq, partial(self._step, step)))
        for one in found:
            doings.append((one.fault.seq, partial(self._begin, one)))
            doings.append((one.fault.end, partial(self._end, one)))
        doings.sort(key=lambda doing: doing[0])
        for seq, do in doings:
            do(seq)
        for mm in list(self._open):
            self._moment(mm, self._mapped.get(mm, {}), doings[-1][0])

    def _locks(self, events: Events) -> Iterator[tuple[int, Callable[[int], None]]]:
        stored = are(events["kind"], Kind.WATCH) & are(events["id"], Watch.MMAP_LOCK)
        mine = events[stored]
        mine = mine[(mine["b"] ^ mine["c"]) & np.uint64(WRITER) != 0]
        rows = zip(
            mine[["seq", "d", "c"]].tolist(), holders(Running(events), mine).tolist(), strict=True
        )
        for (seq, mm, new), holder in rows:
            do = self._taken if new & WRITER else self._given
            yield seq, partial(do, mm, holder)

    def _step(self, step: Step, _: int) -> None:
        if step.event == "tree":
            return
        self._mapped.get(self._mm_of.pop(step.base, 0), {}).pop(step.base, None)
        if step.attached and step.event not in _GONE and step.generation:
            self._mapped.setdefault(step.mm, {})[step.base] = step
            self._mm_of[step.base] = step.mm

    def _taken(self, mm: int, holder: int, seq: int) -> None:
        self._stable[mm] = dict(self._mapped.get(mm, {}))
        self._writer[mm] = holder
        self._moment(mm, self._stable[mm], seq)

    def _given(self, mm: int, holder: int, seq: int) -> None:
        if self._writer.get(mm) == holder:  # else its number is late: another has it already
            del self._writer[mm], self._stable[mm]
            self._moment(mm, self._mapped.get(mm, {}), seq)

    def _begin(self, one: Refusal, seq: int) -> None:
        self._open.setdefault(one.mm, []).append(one)
        _judge(one, self._now(one.mm), seq)

    def _end(self, one: Refusal, seq: int) -> None:
        one.ended = True
        if one.mm not in self._writer:
            self._moment(one.mm, self._now(one.mm), seq)

    def _now(self, mm: int) -> Mapped:
        return self._stable.get(mm, self._mapped.get(mm, {}))

    def _moment(self, mm: int, mapped: Mapped, seq: int) -> None:
        """Nobody holds the lock to write."""
        waiting = self._open.pop(mm, [])
        for one in waiting:
            _judge(one, mapped, seq)
        going = [one for one in waiting if not one.ended]
        if going:
            self._open[mm] = going


def _judge(one: Refusal, mapped: Mapped, seq: int) -> None:
    va = one.fault.va
    one.seqs.append(seq)
    one.mapped &= any(vma.start <= va < vma.end for vma in mapped.values())
