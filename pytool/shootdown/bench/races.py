"""``make race-table``: how often planted races are hit, plain, scripted and by each policy.

Every trial is a line of a file, so that a campaign goes on where it was stopped, and more trials
are added by a larger ``-n``. The table, docs/planted.md, is made from that file alone.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from shootdown.bench import races_table
from shootdown.bench.races_log import Cell, Log, Row
from shootdown.errors import ExitCode, ShootdownError, SkippedError, UsageError
from shootdown.race import policies, trial
from shootdown.race.planted import Planted, cells
from shootdown.race.points import nearest
from shootdown.report.result import Result
from shootdown.run import directory
from shootdown.run.directory import RunDir
from shootdown.run.experiment import Experiment

_TRIALS: Final = 40
_LOG: Final = Path("planted.jsonl")
_TABLE: Final = Path("docs/planted.md")


@dataclass(frozen=True)
class Setting:
    """One trial that is to be run."""

    planted: Planted
    experiment: Experiment
    """With workload, iterations, vCPUs and seed as the script has them."""
    run: RunDir


Method = Callable[[Setting], Result]


def plain(setting: Setting) -> Result:
    """The workload, undisturbed."""
    return trial.plain(setting.experiment, setting.run, _silent)


def scripted(setting: Setting) -> Result:
    """The script's holds."""
    staged = trial.stage(setting.planted.plan(), setting.experiment, _silent)
    return trial.trial(staged, setting.run, _silent, seed=setting.experiment.seed)


def delayed(policy: str) -> Method:
    """The workload with the delays that a policy chooses by the trial's seed."""
    return lambda setting: trial.plain(
        replace(setting.experiment, inject=policy), setting.run, _silent
    )


METHODS: Final[Mapping[str, Method]] = {
    "plain": plain,
    **{name: delayed(name) for name in policies.POLICIES if name != policies.PLAIN.name},
    "scripted": scripted,
}
"""How a trial is run, by the name of the table's column."""


def _silent(_: str) -> None:
    pass


def _experiment(planted: Planted, arch: str, seed: int) -> Experiment:
    bare = Experiment(
        arch,
        kernel=planted.kernel,
        mutate=planted.mutate,
        snapshot="auto",
        seed=seed,
        timeout=60,
    )
    return trial.as_planned(planted.plan(), bare)


def run_one(planted: Planted, arch: str, method: str, seed: int) -> Row:
    """One trial, and what came of it. Raises InfraError and UsageError; a trace is not kept."""
    with tempfile.TemporaryDirectory(prefix="shootdown-planted-") as scratch:
        run = directory.create(Path(scratch) / "run", trial.ROOM_BYTES)
        setting = Setting(planted, _experiment(planted, arch, seed), run)
        try:
            result = METHODS[method](setting)
        except SkippedError as error:
            raise UsageError(f"{planted.bug} cannot run on {arch}: {error}") from error
        return Row(
            *(planted.bug, arch, method, seed),
            hit=planted.hit(result),
            exit_code=result.exit_code,
            rules=tuple(sorted({violation.rule for violation in result.violations})),
            holds=result.holds,
            kernel=result.kernel.release,
        )


def _campaign(log: Log, wanted: list[Cell], trials: int) -> None:
    # One trial of each cell in turn: a table of a campaign that was stopped is even.
    known = {(planted.bug, arch): planted for planted, arch in cells()}
    for number in range(1, trials + 1):
        for cell in wanted:
            if number in log.seeds(cell):
                continue
            row = run_one(known[cell.bug, cell.arch], cell.arch, cell.method, number)
            log.add(row)
            word = "hit" if row.hit else f"no hit, exit {row.exit_code}"
            _tell(f"{cell.bug} {cell.arch} {cell.method} {number} of {trials}: {word}")


def _wanted(options: argparse.Namespace) -> list[Cell]:
    every = [Cell(planted.bug, arch, m) for planted, arch in cells() for m in METHODS]
    for what, names in (("bug", options.bug), ("arch", options.arch), ("method", options.method)):
        known = sorted({getattr(cell, what) for cell in every})
        for name in names or ():
            if name not in known:
                raise UsageError(f"no planted race has the {what} {name}{nearest(name, known)}")
        every = [cell for cell in every if not names or getattr(cell, what) in names]
    return every


def _tell(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


def main() -> int:
    """Run what is missing of the campaign, write the table; returns the exit code."""
    parser = argparse.ArgumentParser(prog="races", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("-n", type=int, default=_TRIALS, help=f"trials a cell (default: {_TRIALS})")
    for name, what in (("bug", "planted race"), ("arch", "architecture"), ("method", "column")):
        text = f"only this {what}; may be given again"
        parser.add_argument(f"--{name}", action="append", metavar="NAME", help=text)
    parser.add_argument("--log", type=Path, default=_LOG, help=f"trials (default: {_LOG})")
    parser.add_argument("--out", type=Path, default=_TABLE, help=f"table (default: {_TABLE})")
    parser.add_argument("--table-only", action="store_true", help="run nothing")
    options = parser.parse_args()
    try:
        log = Log(options.log)
        if not options.table_only:
            _campaign(log, _wanted(options), options.n)
        directory.write_text(options.out, races_table.document(log.rows, tuple(METHODS)))
    except ShootdownError as error:
        print(f"shootdown: error: {error}", file=sys.stderr)
        return int(error.exit_code)
    return ExitCode.PASS


if __name__ == "__main__":
    sys.exit(main())
