"""What event groups show of each phase of the guest ``counting_events``, as counts by name.

Counted is what the workload's own task did between the marks of a phase. Names: ``vma STEP``
(``vmas``), ``lock CHANGE`` (``vma_locks``), ``fault ...`` and ``attempt ...`` (``faults``),
``gup ...`` and ``pin EVENT`` (``gup``, in references), and for each record of a function or of a
birth its kind and its name, so that no record can be missing unnoticed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from shootdown.model import faults, pins, vma_locks, vmas
from shootdown.model.known import Known
from shootdown.model.running import Running
from shootdown.model.tasks import text
from shootdown.trace.columns import any_of
from shootdown.trace.functions import NAMES, Function
from shootdown.trace.schema import Kind, Mark, Probe, Watch
from shootdown.trace.types import Events

_FUNCTIONS: Final = (*range(120, 180), *range(210, 240))
"""Numbers of the functions of these groups (``trace.functions``)."""
_CPUS: Final = 256
_RESULTS: Final = "vm_fault_reason."
UNCOUNTED: Final = ("vm_area_free_rcu_cb", "irqentry_exit", "gup_put_folio", "try_get_folio")
"""What an interrupt may do in the task's place, of whatever was freed before, and how it ends; and
what a compiler may have put into its callers. Of these each beginning must have its end
(``unpaired``)."""


@dataclass(frozen=True)
class Phase:
    """One phase of one iteration; the first iteration, 0, only warms up."""

    name: str
    iteration: int
    first: int
    """Number of its first mark."""
    end: int
    """Number of its last mark."""
    task: int
    """VA of the task_struct."""
    counts: Counter[str]

    def __contains__(self, seq: int) -> bool:
        """Whether an event of the task with this number belongs to it."""
        return self.first < seq < self.end


def unpaired(events: Events, known: Known) -> int:
    """Ends without a beginning and beginnings without an end, and breaks in the values of words."""
    found = faults.faults(events).unpaired + pins.gup(events, known).unpaired
    return found + vma_locks.history(events).breaks + _tree_breaks(events) + _unpaired_late(events)


def _unpaired_late(events: Events) -> int:
    """The same of the RCU callback: none begins on a CPU while another one runs there."""
    late = events["id"] == Function.vm_area_free_rcu_cb
    begun = np.bincount(events["cpu"][late & (events["kind"] == Kind.ENTER)], minlength=_CPUS)
    ended = np.bincount(events["cpu"][late & (events["kind"] == Kind.EXIT)], minlength=_CPUS)
    return int(np.abs(begun - ended).sum())


def _tree_breaks(events: Events) -> int:
    """Changes of a tree's root that do not begin with what the one before left."""
    kinds = any_of(events["kind"], (Kind.WATCH, Kind.WATCH_INIT))
    mine = events[kinds & (events["id"] == Watch.MM_TREE)]
    mine = mine[np.lexsort((mine["seq"], mine["a"]))]
    same = (mine["a"][1:] == mine["a"][:-1]) & (mine["kind"][1:] == Kind.WATCH)
    return int((same & (mine["b"][1:] != mine["c"][:-1])).sum())


def phases(events: Events, known: Known) -> list[Phase]:
    """Every whole phase in the trace, in order."""
    found = list(_marked(events))
    counter = _Counter(found, events)
    counter.vmas(events)
    counter.locks(events)
    counter.faults(events, known)
    counter.gup(events, known)
    counter.records(events)
    return found


def _marked(events: Events) -> Iterator[Phase]:
    marks = events[events["kind"] == Kind.MARK]
    tasks = Running(events).of(marks).tolist()
    iteration = 0
    begun: dict[str, int] = {}
    columns = (marks[name].tolist() for name in ("id", "a", "b", "seq"))
    for id, a, b, seq, task in zip(*columns, tasks, strict=True):
        if id == Mark.ITER:
            iteration = a
        elif id == Mark.BEGIN:
            begun[text(a, b)] = seq
        elif id == Mark.END and text(a, b) in begun:
            name = text(a, b)
            yield Phase(name, iteration, begun.pop(name), seq, task, Counter())


class _Counter:
    def __init__(self, found: list[Phase], events: Events) -> None:
        # Phases of other workloads lie around these, and are never the innermost.
        self._phases = sorted(found, key=lambda phase: phase.first)
        self._first = np.array([phase.first for phase in self._phases], dtype=np.uint64)
        switches = (events["kind"] == Kind.PROBE) & (events["id"] == Probe.TASK_SWITCH)
        self._running = Running(events[switches])

    def count(self, seq: int, task: int, name: str, times: int = 1) -> None:
        at = int(np.searchsorted(self._first, np.uint64(seq), side="right")) - 1
        if at >= 0 and seq in self._phases[at] and task == self._phases[at].task:
            self._phases[at].counts[name] += times

    def _tasks(self, seqs: list[int], cpus: list[int]) -> list[int]:
        """Who ran there, for what a model gives by number and CPU."""
        made = np.zeros(len(seqs), [("seq", "<u8"), ("cpu", "u1")])
        made["seq"], made["cpu"] = seqs, cpus
        return [int(task) for task in self._running.of(made)]

    def vmas(self, events: Events) -> None:
        steps = [s for s in vmas.steps(events) if s.event not in ("tree", "release")]
        tasks = self._tasks([s.seq for s in steps], [s.cpu for s in steps])
        for step, task in zip(steps, tasks, strict=True):
            self.count(step.seq, task, f"vma {step.event}")

    def locks(self, events: Events) -> None:
        changes = vma_locks.history(events).steps
        tasks = self._tasks([c.seq for c in changes], [c.cpu for c in changes])
        for change, task in zip(changes, tasks, strict=True):
            self.count(change.seq, task, f"lock {change.event}")

    def faults(self, events: Events, known: Known) -> None:
        found = faults.faults(events)
        for fault in found.faults:
            access = (
                "write" if fault.access.write else "read",
                "user" if fault.access.user else "kernel",
            )
            tries = " ".join(lock if ok else f"{lock}-" for lock, ok in fault.tries)
            self.count(fault.seq, fault.task, f"fault {' '.join(access)} {tries}")
        results = [path for path in known.constants if path.startswith(_RESULTS)]
        for attempt in found.attempts:
            result = known.bits(attempt.result, results, "VM_FAULT_") or "0"
            where = "fault" if attempt.fault else "gup"
            self.count(attempt.seq, attempt.task, f"attempt {where} {result}")

    def gup(self, events: Events, known: Known) -> None:
        found = pins.gup(events, known)
        for call in found.calls:
            name = "gup slow" if call.mm else "gup fast"
            self.count(call.seq, call.task, name)
            self.count(call.seq, call.task, f"{name} pages", max(call.result, 0))
        for pin in found.pins:
            self.count(pin.seq, pin.task, f"pin {pin.event}", pin.refs)

    def records(self, events: Events) -> None:
        """The records themselves, of functions and of births."""
        calls = any_of(events["kind"], (Kind.ENTER, Kind.EXIT))
        calls &= any_of(events["id"], _FUNCTIONS)
        births = events["kind"] == Kind.WATCH_INIT
        kept = events[calls | births]
        columns = (kept[name].tolist() for name in ("kind", "id", "seq"))
        tasks = Running(events).of(kept).tolist()
        for kind, id, seq, task in zip(*columns, tasks, strict=True):
            name = Watch(id).name if kind == Kind.WATCH_INIT else NAMES.get(id, str(id))
            if name not in UNCOUNTED:
                self.count(seq, task, f"{Kind(kind).name} {name}")
