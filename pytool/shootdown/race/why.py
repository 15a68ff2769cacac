"""Why an order did not come about: what those are doing who should have gone on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from fnmatch import fnmatchcase
from itertools import islice
from typing import Final

from shootdown.errors import InconclusiveError
from shootdown.race.points import Hold, Point, Step
from shootdown.race.stage import Stage
from shootdown.race.view import Task

# Functions in which a kernel waits; the inmost that is found counts (kernel/smp.c,
# kernel/locking/*.c, mm/filemap.c, kernel/rcu/*.c).
_WAITS: Final = {
    "smp_call_function_many_cond": "it waits until the CPUs it interrupted have answered, and a "
    "CPU that is held answers nothing",
    "smp_call_function_single": "it waits until the CPU it interrupted has answered, and a CPU "
    "that is held answers nothing",
    "rwsem_down_read_slowpath": "it waits for a lock that somebody holds for writing",
    "rwsem_down_write_slowpath": "it waits for a lock that others hold",
    "native_queued_spin_lock_slowpath": "it spins for a lock that somebody holds",
    "queued_spin_lock_slowpath": "it spins for a lock that somebody holds",
    "__mutex_lock": "it waits for a mutex that somebody holds",
    "__vma_start_write": "it waits until those who read-lock the VMA are gone",
    "folio_wait_bit_common": "it waits for a page that somebody has locked or writes out",
    "synchronize_rcu": "it waits until every CPU has passed through a quiescent state",
    "wait_for_completion": "it waits for somebody's completion",
    "multi_cpu_stop": "it waits for all CPUs to stop",
    "futex_wait": "it waits in futex() for another thread of its program",
    "do_wait": "it waits for a child to end",
}
_SHOWN: Final = 6
"""Callers that are named."""
_DEEP: Final = 24
"""Callers that are looked at."""


class Why:
    """Explains holds of one guest; all vCPUs stand still meanwhile."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._symbols = stage.target.facts.symbols

    def place(self, pc: int) -> str:
        """A VA in words."""
        if not pc >> 63:
            return f"{pc:#x}"
        name, offset = self._symbols.at(self._stage.linked(pc))
        return f"{name}+{offset:#x}"

    async def explain(self, awaited: Step) -> list[str]:
        """What those do for whose step a hold waited in vain: a sentence for each thread.

        Those of whom it is known what they wait for come first; of them, and of the others, those
        that the awaited point names.
        """
        if not isinstance(awaited, Point | Hold):
            return ["what is left of the bound is shorter"]
        point = awaited.point if isinstance(awaited, Hold) else awaited
        engine = self._stage.engine
        running = {vcpu: self._stage.view.current(vcpu) for vcpu in engine.stub.vcpus}
        lines: list[str] = []
        try:
            lines += [line async for line in self._named(point, running)]
            for vcpu, task in running.items():
                if vcpu not in engine.held and not fnmatchcase(task.comm, point.thread):
                    lines.append(f"CPU {vcpu}: {await self._of_vcpu(vcpu, task)}")
        except InconclusiveError as error:
            lines.append(f"the guest's memory does not show more: {error}")
        return sorted(lines, key=lambda line: not any(why in line for why in _WAITS.values()))

    async def _named(self, point: Point, running: dict[int, Task]) -> AsyncIterator[str]:
        at = {task.va: vcpu for vcpu, task in running.items()}
        if point.thread == "*":
            return
        found = [task for task in self._stage.view.tasks() if fnmatchcase(task.comm, point.thread)]
        if not found:
            yield f"no thread is called {point.thread}"
        for task in islice(found, _SHOWN):
            vcpu = at.get(task.va)
            if vcpu is None:
                sp = self._stage.view.saved_stack(task)
                yield _said(str(task), "sleeps", [*islice(self._stage.view.callers(sp), _DEEP)])
            elif vcpu in self._stage.engine.held:
                yield f"{task} is on CPU {vcpu}, which is held"
            else:
                yield f"CPU {vcpu}: {await self._of_vcpu(vcpu, task)}"

    async def _of_vcpu(self, vcpu: int, task: Task) -> str:
        pc = await self._stage.engine.pc(vcpu)
        if not pc >> 63:
            return f"{task} runs in user mode at {pc:#x}"
        sp = await self._stage.stack_pointer(vcpu)
        here = self._symbols.at(self._stage.linked(pc))[0]
        return _said(str(task), "runs", [here, *islice(self._stage.view.callers(sp), _DEEP)])


def _said(who: str, does: str, callers: list[str]) -> str:
    for at, caller in enumerate(callers):
        if reason := _WAITS.get(caller.partition(".")[0]):
            return f"{who} {does} in {_chain(callers[at:])}: {reason}"
    return f"{who} {does} in {_chain(callers)}"


def _chain(callers: list[str]) -> str:
    return " < ".join(callers[:_SHOWN]) or "a place without a name"
