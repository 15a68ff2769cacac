"""One trial of a race of the library on a stock kernel."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from shootdown.errors import ShootdownError, SkippedError, UsageError
from shootdown.race import find, plan_file, trial
from shootdown.race.find import Found
from shootdown.run import directory
from shootdown.run.experiment import Experiment

KERNELS: Final = ("debian:6.12", "debian:7.2")
"""Of every race."""
_ALSO: Final = (("direct::fork_during_read", "debian:6.1"),)
"""The control of the races with data: this kernel loses some."""
_TIMEOUT_S: Final = 300
_REASON: Final = 160
"""Characters of a reason that are kept."""


class Cell(NamedTuple):
    """A place of the table."""

    race: str
    kernel: str
    arch: str


@dataclass(frozen=True)
class Row:
    """One trial."""

    race: str
    kernel: str
    arch: str
    seed: int
    exit_code: int
    planned: int
    """Holds."""
    fired: int
    timed_out: int
    """Of those that fired, with ``infeasible``."""
    infeasible: int
    """Holds that timed out because their order is infeasible, as the race says."""
    rules: str
    """Those that were violated, with commas between."""
    lost: int
    """What the workload says was lost of its data."""
    reason: str
    """Why it did not pass."""
    seconds: float
    release: str
    contents: str
    """Digest of the plan."""

    @property
    def cell(self) -> Cell:
        """Where it counts."""
        return Cell(self.race, self.kernel, self.arch)

    @property
    def told(self) -> str:
        """For the terminal."""
        return (
            f"{' '.join(self.cell)}: exit {self.exit_code}, {self.fired} of {self.planned} fired, "
            f"{self.timed_out} timed out, {self.seconds} s {self.reason}"
        )

    def to_list(self) -> list[Any]:
        """What is kept."""
        return list(astuple(self))


def of_list(value: list[Any]) -> Row:
    """What ``to_list`` made. Raises TypeError when it did not."""
    return Row(*value)


@cache
def _library() -> dict[str, Found]:
    return {race.call: race for race in find.library()}


def cells() -> Iterator[Cell]:
    """Every race on every kernel."""
    pairs = [(call, kernel) for kernel in KERNELS for call in _library()] + list(_ALSO)
    for call, kernel in pairs:
        for arch in _library()[call].arch:
            yield Cell(call, kernel, arch)


@cache
def contents(cell: Cell) -> str:
    """Digest of the cell's plan."""
    plan = plan_file.to_toml(_library()[cell.race].plan)
    return hashlib.sha256(plan.encode()).hexdigest()[:8]


def run_one(cell: Cell, seed: int) -> Row:
    """One trial, and what came of it. Raises InfraError; a trace is not kept.

    A race that a kernel has no place for ends as one whose workload cannot run: skipped.
    """
    race = _library()[cell.race]
    swap_or_disk = race.plan.swap or race.plan.disk  # QEMU cannot save a guest that has one
    experiment = Experiment(
        cell.arch,
        kernel=cell.kernel,
        snapshot="off" if swap_or_disk else "auto",
        timeout=_TIMEOUT_S,
    )
    begin = time.monotonic()
    try:
        staged = trial.stage(race.plan, experiment, _silent)
    except (UsageError, SkippedError) as error:
        return _unrun(cell, seed, error)
    with tempfile.TemporaryDirectory(prefix="shootdown-library-") as scratch:
        run = directory.create(Path(scratch) / "run", trial.ROOM_BYTES)
        result = trial.trial(staged, run, _silent, seed=seed)
    infeasible = sum(held["infeasible"] and held["timed_out"] for held in result.held)
    return Row(
        *cell,
        seed,
        exit_code=result.exit_code,
        planned=result.holds["planned"],
        fired=result.holds["fired"],
        timed_out=result.holds["timed_out"],
        infeasible=infeasible,
        rules=",".join(sorted({v.rule for v in result.violations})),
        lost=sum(int(w.stats.get("lost", 0)) for w in result.workloads),
        reason=result.reasons[0][:_REASON] if result.exit_code else "",
        seconds=round(time.monotonic() - begin, 2),
        release=result.kernel.release,
        contents=contents(cell),
    )


def _unrun(cell: Cell, seed: int, error: ShootdownError) -> Row:
    why = str(error)[:_REASON]
    return of_list(
        [*cell, seed, int(error.exit_code), 0, 0, 0, 0, "", 0, why, 0.0, "", contents(cell)]
    )


def _silent(_: str) -> None:
    pass
