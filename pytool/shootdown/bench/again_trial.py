"""What becomes of a saved finding of a planted race: replayed, and shrunk."""

from __future__ import annotations

import tempfile
import time
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from shootdown.bench import races_log, races_trial
from shootdown.errors import NotReproducedError
from shootdown.race import finding, reduce, trial
from shootdown.race.finding import Finding
from shootdown.race.planted import Planted
from shootdown.race.replay import replay
from shootdown.race.shrink import shrink
from shootdown.run import directory

REPLAYS: Final = 5
TRIES: Final = 1
"""Trials of each smaller plan. A plan that fails once though it could do is left larger."""
VERIFIED: Final = 3
"""Fresh trials of what is left."""
_ATTEMPTS: Final = 3
"""Trials in which the script may give a finding."""


class Cell(NamedTuple):
    """A planted race."""

    bug: str
    arch: str


@dataclass(frozen=True)
class Row:
    """One finding."""

    bug: str
    arch: str
    found_by: int
    """Seed of the trial that did; 0: none."""
    seed: int
    """Number of the finding."""
    expected: str
    """Rule and site."""
    replays: int
    same: int
    """Replays in which it came back."""
    planned: int
    """Holds of the finding."""
    holds: int
    """Holds of what it was shrunk to; -1: it did not come back then."""
    steps: int
    """What those wait for, in all."""
    verified: int
    """Of ``VERIFIED`` fresh trials, those with the violation."""
    tried: int
    """Trials of the shrinking."""
    seconds: float
    contents: str
    """Digest of the script."""

    @property
    def cell(self) -> Cell:
        """Where it counts."""
        return Cell(self.bug, self.arch)

    @property
    def told(self) -> str:
        """For the terminal."""
        return (
            f"{self.bug} {self.arch}: {self.expected} replayed {self.same} of {self.replays}, "
            f"shrunk from {self.planned} holds to {self.holds}, {self.seconds} s"
        )

    def to_list(self) -> list[Any]:
        """What is kept."""
        return list(astuple(self))


def of_list(value: list[Any]) -> Row:
    """What ``to_list`` made. Raises TypeError when it did not."""
    return Row(*value)


def contents(cell: Cell) -> str:
    """Digest of the cell's script, and of what is a hit."""
    return races_trial.contents(races_log.Cell(*cell, "scripted"))


def run_one(cell: Cell, number: int) -> Row:
    """Find, replay and shrink. Raises InfraError and UsageError; traces are not kept."""
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="shootdown-again-") as scratch:
        found = _find(cell, number, Path(scratch))
        if found is None:
            values: tuple[Any, ...] = (0, number, "", 0, 0, 0, -1, 0, 0, 0)
        else:
            played = replay(found, REPLAYS, Path(scratch, "replay"), races_trial.silent)
            assert found.plan is not None
            values = (
                *(found.experiment.seed, number, str(found.expected[0])),
                *(played.trials, played.hits, found.plan.planned),
                *_shrunk(found, Path(scratch, "shrink")),
            )
    return of_list([*cell, *values, round(time.monotonic() - begin, 2), contents(cell)])


def _shrunk(found: Finding, out: Path) -> tuple[int, int, int, int]:
    try:
        small = shrink(found, VERIFIED, out, races_trial.silent, tries=TRIES)
    except NotReproducedError:
        return -1, 0, 0, TRIES
    plan = small.finding.plan
    holds, waits, _ = reduce.size(plan) if plan else (0, 0, 0)
    return holds, waits - holds, small.verified.hits, small.tried


def _find(cell: Cell, number: int, scratch: Path) -> Finding | None:
    """The finding of a scripted trial, what was planted first among its violations."""
    planted = races_trial.planted_of(races_log.Cell(*cell, "scripted"))
    for attempt in range(_ATTEMPTS):
        seed = 1000 * number + attempt
        run = directory.create(scratch / f"find-{attempt}", trial.ROOM_BYTES)
        one = races_trial.experiment(planted, cell.arch, seed)
        staged = trial.stage(planted.plan(), one, races_trial.silent)
        if planted.hit(trial.trial(staged, run, races_trial.silent, seed=seed)):
            return _planted_first(finding.load(run.path / finding.NAME), planted)
    return None


def _planted_first(found: Finding, planted: Planted) -> Finding:
    def of_it(one: finding.Expected) -> bool:
        return one.rule in planted.rules and (not planted.sites or one.site in planted.sites)

    return replace(found, expected=tuple(sorted(found.expected, key=lambda one: not of_it(one))))
