"""One trial: a guest, a workload, a plan; and what came of it."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Protocol

from shootdown.errors import ExitCode, ShootdownError
from shootdown.kernel import facts as kernel_facts
from shootdown.kernel.cache import cache_root, looked_once
from shootdown.race import finding, plan_file, surveys
from shootdown.race.director import Director
from shootdown.race.finding import Finding, expected_of
from shootdown.race.points import Plan, Point
from shootdown.race.resolve import Traps, needs_survey, places, resolve
from shootdown.race.stage import Target, open_stage
from shootdown.report.result import Result
from shootdown.run import checkstage, directory, record, reportstage, source
from shootdown.run.directory import RunDir
from shootdown.run.experiment import Experiment
from shootdown.run.session import Scene, Session
from shootdown.vm.guest import Guest

Tell = Callable[[str], None]
ROOM_BYTES: Final = 1 << 28
"""Free bytes asked for at the start of a trial."""


class Recorder(Protocol):
    """Gets a guest that is ready, runs the workload within the scene, and writes the run."""

    def __call__(
        self, experiment: Experiment, run: RunDir, tell: Tell, scene: Scene | None = None
    ) -> Session:
        """See ``run.record.record``, which boots for each trial."""
        ...


@dataclass(frozen=True)
class Staged:
    """A plan whose points were found in a kernel."""

    plan: Plan
    experiment: Experiment
    target: Target
    traps: Mapping[Point, Traps]


def as_planned(plan: Plan, experiment: Experiment) -> Experiment:
    """The experiment with what the plan says itself."""
    return replace(
        experiment,
        workloads=plan.workload,
        iterations=plan.iterations,
        smp=plan.smp,
        options=plan.options,
        swap=plan.swap,
        disk=plan.disk,
        events=plan.events,
    )


@looked_once()
def stage(plan: Plan, experiment: Experiment, tell: Tell) -> Staged:
    """Find the plan's points in the experiment's kernel, recording the workload if need be.

    Of the experiment counts all but what the plan says itself. Raises UsageError with the nearest
    candidates for a point that the kernel does not have, and what a recording raises.
    """
    experiment = as_planned(plan, experiment)
    record.validate(experiment)
    arch = record.configured(experiment)
    facts = kernel_facts.load(source.image(experiment.kernel, arch, cache_root()), cache_root())
    known = surveys.get(experiment, facts, tell) if needs_survey(plan) else None
    stays = record.stays((*arch.machine.cmdline, *experiment.append.split()))
    target = Target(arch, facts, known, stays)
    traps = {point: resolve(point, facts, target.spec, known) for point in plan.points()}
    return Staged(plan, experiment, target, traps)


def command_line(call: str, experiment: Experiment, seed: int) -> str:
    """The line that repeats one trial; ``call`` is what ``race.find`` finds the race by."""
    default = Experiment(experiment.arch)
    words = ["shootdown", "race", call, "--arch", experiment.arch, "--seed", str(seed)]
    for name in ("kernel", "mem", "timeout", "profile", "mutate", "append", "policy", "snapshot"):
        value = getattr(experiment, name)
        if value != getattr(default, name):
            words += [f"--{name}", str(value)]
    return shlex.join(words)


@looked_once()
def trial(
    staged: Staged,
    run: RunDir,
    tell: Tell,
    *,
    seed: int,
    reproduce: str = "",
    recorder: Recorder = record.record,
) -> Result:
    """Play the plan once in a guest of its own, check what was recorded, write the reports.

    ``reproduce`` is the line that does the same again. Raises UsageError and InfraError; the plan
    and whatever was recorded are in ``run`` even then.
    """
    directory.write_text(run.race, plan_file.to_toml(staged.plan))
    outcome = _Outcome(staged, reproduce)
    experiment = replace(staged.experiment, seed=seed)
    try:
        try:
            recorder(experiment, run, tell, outcome.scene)
        finally:  # an interrupted one too
            directory.write_json(run.holds, outcome.to_json())
    except ShootdownError as error:
        reportstage.write(run, checkstage.failed(run, error))
        raise
    result = _judged(run, tell)
    if result.exit_code == ExitCode.VIOLATION:
        saved = Finding(staged.plan, experiment, expected_of(result.violations))
        finding.save(saved, run.path / finding.NAME)
    return result


@looked_once()
def plain(experiment: Experiment, run: RunDir, tell: Tell) -> Result:
    """A trial without holds: the experiment, undisturbed. Raises what ``trial`` raises."""
    try:
        record.record(experiment, run, tell)
    except ShootdownError as error:
        reportstage.write(run, checkstage.failed(run, error))
        raise
    return _judged(run, tell)


def _judged(run: RunDir, tell: Tell) -> Result:
    result = checkstage.check(run, tell)
    reportstage.write(run, result)
    return result


class _Outcome:
    # The director of one trial, and what it did.

    def __init__(self, staged: Staged, reproduce: str) -> None:
        self._staged = staged
        self._reproduce = reproduce
        self._director: Director | None = None

    @asynccontextmanager
    async def scene(self, guest: Guest) -> AsyncIterator[None]:
        """The plan is played while the workload runs."""
        async with open_stage(guest, self._staged.target) as opened:
            self._director = Director(self._staged.plan, self._staged.traps, opened)
            task = asyncio.create_task(self._director.play())
            try:
                yield
            finally:
                opened.engine.end()
                (failed,) = await asyncio.gather(task, return_exceptions=True)
            if isinstance(failed, BaseException):  # it has let the guest run on
                raise failed

    def to_json(self) -> dict[str, Any]:
        """What holds.json holds."""
        held = self._director.held if self._director else []
        facts = self._staged.target.facts
        return {
            "planned": self._staged.plan.planned,
            "fired": len(held),
            "timed_out": sum(hold.timed_out for hold in held),
            "reproduce": self._reproduce,
            "points": {str(p): places(traps, facts) for p, traps in self._staged.traps.items()},
            "held": [asdict(hold) for hold in held],
        }
