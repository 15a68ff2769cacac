"""For which walkers a page table that is freed would have had to wait: CPUs by what they ran.

A walker that takes no lock is inside the kernel, on behalf of a task of the table's mm. It is over
once the CPU has returned to user mode, switched tasks, or taken an interrupt: interrupts are off
in GUP-fast, and what walks under RCU is not preempted before the grace period begins.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from shootdown.trace.columns import any_of, are
from shootdown.trace.functions import Function
from shootdown.trace.schema import Kind, Probe, RootReg
from shootdown.trace.types import Events

_HANDLERS: Final = (Function.flush_tlb_func, Function.tlb_remove_table_smp_sync)
_ENTRIES: Final = (Probe.SYSCALL, Probe.FAULT)
_USER_ROOTS: Final = (RootReg.CR3, RootReg.TTBR0)

_Numbers = npt.NDArray[np.uint64]


class Waiting:
    """What each CPU ran when; ``events``: of all kinds, in the order of ``seq``."""

    def __init__(self, events: Events) -> None:
        self._cpus: Final = {
            int(cpu): _Cpu(events[events["cpu"] == cpu]) for cpu in np.unique(events["cpu"])
        }
        links = events[any_of(events["kind"], (Kind.TABLE_LINK, Kind.ROOT_LEARN))]
        roots = np.where(are(links["kind"], Kind.ROOT_LEARN), links["b"], links["d"])
        self._links: Final[dict[int, list[tuple[int, int]]]] = {}
        rows = zip(links["seq"].tolist(), links["b"].tolist(), roots.tolist(), strict=True)
        for seq, table, root in rows:
            self._links.setdefault(table, []).append((seq, root))

    def root(self, table: int, seq: int) -> int:
        """PA of the root that a table was linked below last before a number; 0 for none.

        Its own when it had become a root itself since: frames have more than one life.
        """
        roots = [root for at, root in self._links.get(table, ()) if at < seq]
        return roots[-1] if roots else 0

    def works_in(self, cpu: int, root: int, seq: int) -> bool:
        """Whether the CPU was in the kernel, for a task of the root's mm, at a number."""
        found = self._cpus.get(cpu)
        return found is not None and found.works_in(root, seq)

    def workers(self, root: int, seq: int, but: int) -> list[int]:
        """All such CPUs other than one."""
        return [cpu for cpu in self._cpus if cpu != but and self.works_in(cpu, root, seq)]

    def passed(self, cpu: int, first: int, end: int) -> bool:
        """Whether any walk of the CPU that began before ``first`` was over at ``end``."""
        points = self._cpus[cpu].points
        return _before(points, first) < _before(points, end)


class _Cpu:
    def __init__(self, events: Events) -> None:
        kind, id = events["kind"], events["id"]
        switches = are(kind, Kind.PROBE) & are(id, Probe.TASK_SWITCH)
        returns = are(kind, Kind.RET_USER)
        handlers = are(kind, Kind.ENTER) & any_of(id, _HANDLERS)
        entries = (are(kind, Kind.PROBE) & any_of(id, _ENTRIES)) | are(kind, Kind.ENTER)
        modes = returns | (entries & ~handlers)
        loads = are(kind, Kind.ROOT_LOAD) & any_of(id, _USER_ROOTS)
        seq = events["seq"]
        self.points: Final[_Numbers] = seq[switches | returns | handlers]
        self._modes: Final = seq[modes], ~are(kind[modes], Kind.RET_USER)
        self._tasks: Final = seq[switches], events["d"][switches] != 0
        self._roots: Final = seq[loads], events["b"][loads]

    def works_in(self, root: int, seq: int) -> bool:
        mode, task, loaded = (
            _before(numbers, seq) - 1 for numbers, _ in (self._modes, self._tasks, self._roots)
        )
        return (
            min(mode, task, loaded) >= 0
            and bool(self._modes[1][mode])
            and bool(self._tasks[1][task])
            and int(self._roots[1][loaded]) == root
        )


def _before(numbers: _Numbers, seq: int) -> int:
    """How many of the numbers, which rise, are lower; a Python number would cost a copy of all."""
    return int(numbers.searchsorted(np.uint64(seq)))
