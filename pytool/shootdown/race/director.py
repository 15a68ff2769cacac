"""Plays a plan in a running guest: holds vCPUs where it says, until what it says has happened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from shootdown.race.engine import EndedError
from shootdown.race.points import Advance, Hold, Pause, Plan, Point, Step
from shootdown.race.reach import Reach
from shootdown.race.resolve import Traps
from shootdown.race.stage import Stage
from shootdown.race.why import Why

_FOREVER: Final = 1e9
"""Seconds: a hold that has not fired waits as long as the workload runs."""


@dataclass
class Held:
    """What became of one hold."""

    hold: str
    """In words."""
    vcpu: int
    task: str
    at: str
    """Where the vCPU stood: symbol and offset, or a VA of user mode."""
    held_ms: float = 0.0
    """Milliseconds that the others ran meanwhile."""
    timed_out: bool = False
    infeasible: bool = False
    """The race says that it has to time out."""
    why: list[str] = field(default_factory=list)
    """Of a hold that timed out: what kept the others, a sentence each."""


class Director:
    """Plays one plan. ``held`` grows meanwhile and is complete whenever it ends."""

    def __init__(self, plan: Plan, traps: Mapping[Point, Traps], stage: Stage) -> None:
        self._plan = plan
        self._traps = {point: where.moved(stage.slide) for point, where in traps.items()}
        self._stage = stage
        self._reach = Reach(stage)
        self._why = Why(stage)
        self.held: list[Held] = []

    async def play(self) -> None:
        """Do all the holds, then let the guest run on alone, whatever happened.

        Ends early, without an error, when the engine is ended.
        """
        try:
            for _ in range(self._plan.repeat):
                for hold in self._plan.holds:
                    await self._hold(hold, _FOREVER, None)
        except EndedError:
            return
        finally:
            await self._stage.engine.stub.close()

    async def _hold(self, hold: Hold, seconds: float, page: int | None) -> float | None:
        """Play one hold: the seconds it took, None when it was not reached in ``seconds``."""
        arrival, waited = await self._reach.reach(self._traps[hold.point], seconds, page)
        if arrival is None:
            return None
        engine, vcpu = self._stage.engine, arrival.vcpu
        record = Held(str(hold), vcpu, str(arrival.task), self._why.place(await engine.pc(vcpu)))
        record.infeasible = self._stage.target.arch.name in hold.infeasible
        self.held.append(record)
        engine.hold(vcpu)
        page = page if arrival.page is None else arrival.page
        bound = min(hold.bound_ms / 1000, seconds - waited)
        try:
            spent = await self._until(hold.until, bound, page, record)
        finally:
            engine.release(vcpu)
        return waited + spent

    async def _until(
        self, until: Sequence[Step], bound: float, page: int | None, record: Held
    ) -> float:
        """Let happen what a hold waits for; returns the seconds that the others ran."""
        spent = 0.0
        for number, step in enumerate(until, 1):
            if isinstance(step, Advance):
                await self._advance(record.vcpu, step.instructions)
                continue
            took = await self._step(step, bound - spent, page)
            if took is None:
                record.timed_out, spent = True, bound
                late = f"step {number} of {len(until)} did not come in time: {step}"
                record.why = [late, *await self._why.explain(step)]
                break
            spent += took
        record.held_ms = round(1000 * spent, 1)
        return spent

    async def _advance(self, vcpu: int, instructions: int) -> None:
        for _ in range(instructions):
            await self._stage.engine.step(vcpu)

    async def _step(
        self, step: Point | Pause | Hold, left: float, page: int | None
    ) -> float | None:
        match step:
            case Pause() if step.ms / 1000 > left:
                return None
            case Pause():
                return (await self._stage.engine.run_to((), step.ms / 1000))[1]
            case Hold():
                return await self._hold(step, left, page)
        arrival, spent = await self._reach.reach(self._traps[step], left, page)
        return None if arrival is None else spent
