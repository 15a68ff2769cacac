"""One trial of a planted race: plain, with the delays of a policy, or scripted."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Final

from shootdown.bench.races_log import Cell, Row
from shootdown.errors import SkippedError, UsageError
from shootdown.kernel.cache import looked_once
from shootdown.race import plan_file, policies, trial
from shootdown.race.planted import Planted, cells
from shootdown.race.policies import Policy
from shootdown.report.result import Result
from shootdown.run import directory
from shootdown.run.directory import RunDir
from shootdown.run.experiment import Experiment

TIMEOUT_S: Final = 300
"""For the workload, which takes a second, and a minute on a host that has no time for it."""


@dataclass(frozen=True)
class Setting:
    """One trial that is to be run."""

    planted: Planted
    experiment: Experiment
    """With workload, iterations, vCPUs and seed as the script has them."""
    run: RunDir


@dataclass(frozen=True)
class Method:
    """A way to run a trial."""

    run: Callable[[Setting], Result]
    contents: Callable[[Planted], str]
    """What makes it what it is, beside the kernel and the workload."""


def _plain(setting: Setting) -> Result:
    return trial.plain(setting.experiment, setting.run, silent)


@looked_once()
def _scripted(setting: Setting) -> Result:
    staged = trial.stage(setting.planted.plan(), setting.experiment, silent)
    return trial.trial(staged, setting.run, silent, seed=setting.experiment.seed)


def _script(planted: Planted) -> str:
    return plan_file.to_toml(planted.plan())


def _delayed(policy: Policy) -> Method:
    def run(setting: Setting) -> Result:
        return _plain(replace(setting, experiment=replace(setting.experiment, inject=policy.name)))

    return Method(run, lambda _: policy.contents)


METHODS: Final[Mapping[str, Method]] = {
    "plain": Method(_plain, lambda _: ""),
    "scripted": Method(_scripted, _script),
    **{p.name: _delayed(p) for p in policies.POLICIES.values() if p is not policies.PLAIN},
}
"""By the name of the table's column."""


def silent(_: str) -> None:
    """Say nothing."""


@cache
def planted_of(cell: Cell) -> Planted:
    """What is planted there."""
    return next(p for p, arch in cells() if (p.bug, arch) == (cell.bug, cell.arch))


def experiment(planted: Planted, arch: str, seed: int) -> Experiment:
    """The planted kernel under the workload of its script."""
    bare = Experiment(
        arch,
        kernel=planted.kernel,
        mutate=planted.mutate,
        snapshot="auto",
        seed=seed,
        timeout=TIMEOUT_S,
    )
    return trial.as_planned(planted.plan(), bare)


@cache
def contents(cell: Cell) -> str:
    """Digest of workload, script or policy, and of what counts as a hit: trials of one are alike.

    The kernel's release is not in it. Which mutation is made is, how it is made is not.
    """
    planted = planted_of(cell)
    plan = planted.plan()
    words = (
        *(plan.workload, plan.iterations, plan.smp, plan.options, plan.events),
        *(planted.kernel, planted.mutate, planted.rules, planted.sites),
        METHODS[cell.method].contents(planted),
    )
    return hashlib.sha256(repr(words).encode()).hexdigest()[:8]


def run_one(cell: Cell, seed: int) -> Row:
    """One trial, and what came of it. Raises InfraError and UsageError; a trace is not kept."""
    planted = planted_of(cell)
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="shootdown-planted-") as scratch:
        run = directory.create(Path(scratch) / "run", trial.ROOM_BYTES)
        setting = Setting(planted, experiment(planted, cell.arch, seed), run)
        try:
            result = METHODS[cell.method].run(setting)
        except SkippedError as error:
            raise UsageError(f"{planted.bug} cannot run on {cell.arch}: {error}") from error
    return Row(
        *cell,
        seed,
        hit=planted.hit(result),
        exit_code=result.exit_code,
        fired=result.holds["fired"],
        timed_out=result.holds["timed_out"],
        seconds=round(time.monotonic() - begin, 2),
        kernel=result.kernel.release,
        contents=contents(cell),
    )
