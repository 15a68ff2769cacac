"""Runs a guest until a point of a plan is reached."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass, field

from shootdown.errors import InconclusiveError
from shootdown.race import operand
from shootdown.race.engine import Hit
from shootdown.race.operand import Operand
from shootdown.race.points import Point
from shootdown.race.resolve import Traps
from shootdown.race.stage import Stage
from shootdown.race.survey import belongs, entry_class
from shootdown.race.view import Task
from shootdown.vm.gdbstub import Watch

PAGE = 4096


@dataclass(frozen=True)
class Arrival:
    """Somebody reached a point; the vCPU stands there."""

    vcpu: int
    task: Task
    page: int | None
    """VA of the page that was meant, if one was."""


@dataclass
class _Progress:
    # On the way to one point. `returns`: where each thread leaves the function it is in.
    returns: dict[int, int] = field(default_factory=dict)
    counts: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Access:
    hit: Hit
    task: Task
    what: Operand
    va: int


class Reach:
    """Reaches points on one stage."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._operands: dict[int, Operand | None] = {}

    async def reach(
        self, traps: Traps, seconds: float, page: int | None
    ) -> tuple[Arrival | None, float]:
        """Run until the point is reached: who did, and the seconds that the vCPUs ran.

        None when nobody did for ``seconds``. ``page``: VA of what the point calls the page.
        """
        progress, spent = _Progress(), await self._somebody(traps.point, seconds)
        watch = _watch(traps.point, page)
        for standing in self._stage.engine.standing:  # who was held at a gate has not passed it
            task = self._stage.view.current(standing.vcpu)
            if standing.pc in traps.gates and self._stage.meant(traps.point, task, standing.vcpu):
                progress.returns[task.va] = await self._stage.return_address(standing.vcpu)
        while True:
            vas = {*traps.gates, *progress.returns.values()}
            if not watch and (progress.returns or not traps.gates):
                vas |= traps.vas
            hit, took = await self._stage.engine.run_to(vas, seconds - spent, watch)
            spent += took
            if hit is None:
                return None, spent
            task = self._stage.view.current(hit.vcpu)
            if self._stage.meant(traps.point, task, hit.vcpu):
                arrival = await self._arrive(traps, progress, hit, task, page)
                if arrival:
                    return arrival, spent

    async def _somebody(self, point: Point, seconds: float) -> float:
        """Run until there is a thread that the point speaks of; the seconds that the vCPUs ran.

        Until then everybody else would be stopped there in vain, and a stop is dear: the page
        faults of a program's start are hundreds.
        """
        stage, spent = self._stage, 0.0
        named = stage.target.naming
        if named is None or stage.exists(point):
            return spent
        while spent < seconds:
            hit, took = await stage.engine.run_to((named + stage.slide,), seconds - spent)
            spent += took
            if hit and fnmatch.fnmatchcase(await stage.new_name(hit.vcpu), point.thread):
                break
        return spent

    async def _arrive(
        self, traps: Traps, progress: _Progress, hit: Hit, task: Task, page: int | None
    ) -> Arrival | None:
        """Whether a vCPU that stands at one of the traps, or at a gate, has reached the point."""
        point, returns = traps.point, progress.returns
        if hit.watched:
            return self._count(point, progress, Arrival(hit.vcpu, task, page))
        if returns.get(task.va) == hit.pc:
            del returns[task.va]
            if point.event == "return":
                return self._count(point, progress, Arrival(hit.vcpu, task, page))
            return None
        if hit.pc in traps.gates and task.va not in returns:
            returns[task.va] = await self._stage.return_address(hit.vcpu)
            if point.event != "return":
                progress.counts[task.va] = 0
        inside = not traps.gates or task.va in returns
        if not inside or hit.pc not in traps.vas:
            return None
        found = await self._look(point, hit, task, page)
        return self._count(point, progress, found) if found else None

    @staticmethod
    def _count(point: Point, progress: _Progress, found: Arrival) -> Arrival | None:
        counts = progress.counts
        counts[found.task.va] = counts.get(found.task.va, 0) + 1
        return found if counts[found.task.va] == point.nth else None

    async def _look(self, point: Point, hit: Hit, task: Task, page: int | None) -> Arrival | None:
        """Whether the instruction before which a vCPU stands does what the point says."""
        if point.event not in ("pte_write", "load", "store"):
            if point.when == "after" and point.event in ("flush", "root_load"):
                await self._stage.engine.step(hit.vcpu)
            return Arrival(hit.vcpu, task, page)
        what = await self._operand(hit)
        if what is None:
            return None
        names = [name for name, _ in what.registers]
        va = what.va(await self._stage.engine.stub.read(hit.vcpu, names))
        access = _Access(hit, task, what, va)
        try:
            if point.event == "pte_write":
                return await self._entry(point, access)
            return await self._user(point, access)
        except InconclusiveError:  # what it accesses is not mapped: it will fault
            return None

    async def _entry(self, point: Point, access: _Access) -> Arrival | None:
        mmu, view = self._stage.target.arch.mmu, self._stage.view
        pa, old = view.entry(access.va)
        if not belongs(entry_class(old, mmu), point.old):
            return None
        va = view.user_va(access.task, pa)
        if va is None or (point.of != "any" and not self._stage.in_window(va)):
            return None
        if point.when == "after":
            await self._stage.engine.step(access.hit.vcpu)
            _, new = view.entry(access.va)
            if new == old or not belongs(entry_class(new, mmu), point.new):
                return None
        return Arrival(access.hit.vcpu, access.task, va)

    async def _user(self, point: Point, access: _Access) -> Arrival | None:
        if point.of == "window" and not self._stage.in_window(access.va):
            return None
        if point.when == "after":
            stands = await self._stage.engine.step(access.hit.vcpu)
            if stands != access.hit.pc + access.what.size:
                return None  # it faulted, and was not done
        return Arrival(access.hit.vcpu, access.task, access.va & -PAGE)

    async def _operand(self, hit: Hit) -> Operand | None:
        if hit.pc not in self._operands:
            data = await self._stage.engine.stub.memory(hit.vcpu, hit.pc, operand.LONGEST)
            name = self._stage.target.arch.name
            self._operands[hit.pc] = operand.decode(name, data, hit.pc)
        return self._operands[hit.pc]


def _watch(point: Point, page: int | None) -> Watch | None:
    """What to watch for instead of instructions: accesses to the one page are few."""
    if point.of != "page" or page is None:
        return None
    return Watch(page & -PAGE, PAGE, point.event == "store")
