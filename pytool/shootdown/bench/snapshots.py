"""What a snapshot saves: restored and booted guests in pairs, and whole trials.

A guest is ready when its agent answers, whether it was booted or restored; both are recorded. A
trial is everything from an experiment to its report: restore, workload (``munmap``, five
iterations), audit, check.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from shootdown.bench.ratio import Figure, figure, ratios
from shootdown.errors import InfraError
from shootdown.run import checkstage, directory, record, reportstage, trial
from shootdown.run.experiment import Experiment
from shootdown.run.prepared import Prepared

Tell = Callable[[str], None]

_TRIALS: Final = 10
_SECONDS: Final = 60.0


def measure(arch: str, kernel: str, pairs: int, scratch: Path, tell: Tell) -> dict[str, Figure]:
    """The figures of one architecture; ``pairs`` is how often a guest is booted and restored."""
    experiment = Experiment(arch=arch, kernel=kernel, workloads="munmap", iterations=5, smp=2)
    booted: list[float] = []
    restored: list[float] = []
    saved = replace(experiment, snapshot="auto")
    with trial.prepared(experiment, tell) as cold, trial.prepared(saved, tell) as warm:
        for n in range(pairs):
            tell(f"{arch}: pair {n + 1} of {pairs}, booted and restored")
            booted.append(_ready(cold, scratch / f"{arch}-boot-{n}"))
            restored.append(_ready(warm, scratch / f"{arch}-restore-{n}"))
    trials = [_trial(saved, scratch / f"{arch}-trial-{n}", tell) for n in range(_TRIALS)]
    return {
        f"boot_{arch}": figure(booted, "s"),
        f"restore_{arch}": figure(restored, "s"),
        f"trial_snapshot_over_boot_{arch}": ratios(restored, booted),
        f"trial_{arch}": figure(trials, "s"),
    }


def _ready(shared: Prepared, path: Path) -> float:
    """Seconds from the start of QEMU to the agent's first answer."""
    one = trial.in_run(shared, directory.create(path))

    async def main() -> float:
        start = time.perf_counter()
        async with trial.ready_guest(one) as guest:
            await guest.guard(guest.agent.list(), _SECONDS, "answer")
            return time.perf_counter() - start

    return asyncio.run(main())


def _trial(experiment: Experiment, path: Path, tell: Tell) -> float:
    """Seconds from an experiment to its report."""
    start = time.perf_counter()
    run = directory.create(path)
    record.record(experiment, run, tell)
    result = checkstage.check(run, tell)
    reportstage.write(run, result)
    if result.verdict != "pass":
        raise InfraError(f"the benchmark's trial was no pass: {result.reasons[0]}")
    return time.perf_counter() - start
