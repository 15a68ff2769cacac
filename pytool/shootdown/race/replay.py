"""Saved trials, run again: whether the violation comes back, and how often."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from shootdown.errors import ExitCode, GuestCrashError, GuestTimeoutError
from shootdown.race import trial
from shootdown.race.finding import Expected, Finding
from shootdown.race.interval import shown, wilson
from shootdown.race.points import Plan
from shootdown.report.result import Result
from shootdown.run import directory
from shootdown.run.directory import RunDir
from shootdown.run.experiment import Experiment

Tell = Callable[[str], None]

RELIABLE: Final = 0.95
"""Share of trials in which a reliable reproduction shows its violation."""


@dataclass(frozen=True)
class Seen:
    """What one trial showed."""

    run: Path
    code: int
    reason: str
    same: bool
    """The violation that was looked for came: rule and site."""
    exact: bool
    """With the same fingerprint: also of the same kind."""
    others: tuple[str, ...]
    """Violations besides it, by rule and site."""
    longest_ms: tuple[float, ...] = ()
    """Of each hold that fired, in order: milliseconds that the others ran."""


@dataclass(frozen=True)
class Replayed:
    """Some trials of one finding."""

    expected: Expected
    seen: tuple[Seen, ...]

    @property
    def trials(self) -> int:
        """How many there were."""
        return len(self.seen)

    @property
    def hits(self) -> int:
        """In how many the violation came back."""
        return sum(one.same for one in self.seen)

    @property
    def word(self) -> str:
        """``reliable``, ``flaky`` or ``not reproduced``."""
        if not self.hits:
            return "not reproduced"
        return "reliable" if self.hits >= RELIABLE * self.trials else "flaky"

    def __str__(self) -> str:
        return f"{self.expected}: {self.word}, {shown(self.hits, self.trials)}"

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        low, high = wilson(self.hits, self.trials)
        others = Counter(other for one in self.seen for other in set(one.others))
        return {
            "rule": self.expected.rule,
            "site": self.expected.site,
            "fingerprint": self.expected.fingerprint,
            "reproduced": self.hits,
            "same_fingerprint": sum(one.exact for one in self.seen),
            "trials": self.trials,
            "interval": [round(low, 4), round(high, 4)],
            "verdict": self.word,
            "others": dict(others),
            "runs": [{"directory": str(one.run), "exit_code": one.code} for one in self.seen],
        }


class Player:
    """Runs trials of a plan in an experiment; what a kernel tells is found once for each plan."""

    def __init__(self, experiment: Experiment, tell: Tell) -> None:
        self._experiment = experiment
        self._tell = tell
        self._staged: dict[Plan, trial.Staged] = {}

    def play(self, plan: Plan | None, run: RunDir, expected: Expected, seed: int) -> Seen:
        """One trial; without a plan the workload runs undisturbed.

        A guest that crashed or hung before its violation was recorded shows none. Raises what else
        a trial raises.
        """
        try:
            if plan is None:
                result = trial.plain(replace(self._experiment, seed=seed), run, self._tell)
            else:
                result = trial.trial(self._stage(plan), run, self._tell, seed=seed)
        except (GuestCrashError, GuestTimeoutError) as error:
            return Seen(run.path, int(error.exit_code), str(error), False, False, ())
        return _seen(run, result, expected)

    def _stage(self, plan: Plan) -> trial.Staged:
        if plan not in self._staged:
            self._staged[plan] = trial.stage(plan, self._experiment, self._tell)
        return self._staged[plan]


def replay(finding: Finding, count: int, out: Path, tell: Tell) -> Replayed:
    """Run the saved trial ``count`` times, with its own seed, in directories below ``out``.

    The trace of a trial stays when it is the first that showed the violation, or the first that did
    not; the others' are large and tell nothing new. Raises what a trial raises.
    """
    player, expected = Player(finding.experiment, _silent), finding.expected[0]
    done: list[Seen] = []
    for number in range(1, count + 1):
        run = directory.create(out / str(number), trial.ROOM_BYTES)
        one = player.play(finding.plan, run, expected, finding.experiment.seed)
        if any(before.same == one.same for before in done):
            shutil.rmtree(run.trace, ignore_errors=True)
        done.append(one)
        tell(f"trial {number} of {count}: {'reproduced' if one.same else one.reason}")
    return Replayed(expected, tuple(done))


def _seen(run: RunDir, result: Result, expected: Expected) -> Seen:
    found = [one for one in result.violations if one.complete]
    counted = result.exit_code == ExitCode.VIOLATION
    return Seen(
        run=run.path,
        code=result.exit_code,
        reason=result.reasons[0],
        same=counted and any(expected.same(one) for one in found),
        exact=counted and any(expected.fingerprint == one.fingerprint for one in found),
        others=tuple(f"{one.rule} in {one.site}" for one in found if not expected.same(one)),
        longest_ms=tuple(float(held["held_ms"]) for held in result.held),
    )


def _silent(_: str) -> None:
    pass
