"""Many trials of one experiment, each with a seed and therefore with delays of its own."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from shootdown.errors import ExitCode, ShootdownError
from shootdown.race.interval import wilson
from shootdown.report.result import Result
from shootdown.run import checkstage, directory, record, reportstage
from shootdown.run.directory import RunDir
from shootdown.run.experiment import Experiment

Tell = Callable[[str], None]
ROOM_BYTES: Final = 1 << 28
"""Free bytes asked for at the start of a trial."""
_JUDGED: Final = (ExitCode.PASS, ExitCode.VIOLATION)


@dataclass(frozen=True)
class Trial:
    """How one trial ended."""

    seed: int
    directory: Path
    exit_code: int
    reproduce: str
    """The line that does the same again."""
    reason: str
    rules: tuple[str, ...] = ()
    """Rules that were violated."""
    delays: int = 0
    """How often a vCPU was delayed."""

    @property
    def violates(self) -> bool:
        """Whether a rule was violated."""
        return self.exit_code == ExitCode.VIOLATION

    def to_json(self) -> dict[str, Any]:
        """An object for --json."""
        return {
            **{"seed": self.seed, "directory": str(self.directory), "exit_code": self.exit_code},
            **{"rules": list(self.rules), "delays": self.delays, "reason": self.reason},
            "reproduce": self.reproduce,
        }


@dataclass(frozen=True)
class Found:
    """What a search found."""

    experiment: Experiment
    """Its seed is that of the first trial."""
    trials: list[Trial] = field(default_factory=list)

    @property
    def violating(self) -> list[Trial]:
        """Trials that violate a rule."""
        return [trial for trial in self.trials if trial.violates]

    @property
    def judged(self) -> int:
        """Trials with a verdict: a crash or lost events are no evidence for either side."""
        return sum(trial.exit_code in _JUDGED for trial in self.trials)

    @property
    def interval(self) -> tuple[float, float]:
        """Bounds of the rate of violating trials, at 95 %."""
        return wilson(len(self.violating), self.judged)

    def to_json(self) -> dict[str, Any]:
        """An object for --json."""
        experiment, (low, high) = self.experiment, self.interval
        return {
            **{"inject": experiment.inject, "arch": experiment.arch, "kernel": experiment.kernel},
            **{"workloads": experiment.workloads, "seed": experiment.seed},
            **{"violating": len(self.violating), "judged": self.judged},
            "interval": {"low": low, "high": high, "confidence": 0.95},
            "trials": [trial.to_json() for trial in self.trials],
        }


def search(
    experiment: Experiment, trials: int, out: Path, tell: Tell, *, every: bool = False
) -> Iterator[Trial]:
    """Run up to ``trials`` trials below ``out``, each told as it ends, to the first that violates.

    The seeds are the experiment's and those after it. With ``every`` the search does not stop. Of
    trials that end well the trace is removed. A trial that could not be run to its end is one of
    the trials, with that exit code. Raises UsageError for an experiment that cannot be.
    """
    record.validate(experiment)
    for number in range(trials):
        one = replace(experiment, seed=(experiment.seed + number) % (1 << 64))
        run = directory.create(out / f"seed-{one.seed}", ROOM_BYTES)
        trial = _trial(one, run, _prefixed(tell, f"seed {one.seed}: "))
        if trial.exit_code == ExitCode.PASS:
            shutil.rmtree(run.trace, ignore_errors=True)
        yield trial
        if trial.violates and not every:
            return


def _prefixed(tell: Tell, prefix: str) -> Tell:
    return lambda text: tell(prefix + text)


def _trial(experiment: Experiment, run: RunDir, tell: Tell) -> Trial:
    line = experiment.command_line()
    try:
        result = _run(experiment, run, tell)
    except ShootdownError as error:
        reportstage.write(run, checkstage.failed(run, error))
        return Trial(experiment.seed, run.path, int(error.exit_code), line, str(error))
    return Trial(
        seed=experiment.seed,
        directory=run.path,
        exit_code=result.exit_code,
        reproduce=line,
        reason=result.reasons[0],
        rules=tuple(sorted({violation.rule for violation in result.violations})),
        delays=result.events.get("DELAY", 0),
    )


def _run(experiment: Experiment, run: RunDir, tell: Tell) -> Result:
    record.record(experiment, run, tell)
    result = checkstage.check(run, tell)
    reportstage.write(run, result)
    return result
