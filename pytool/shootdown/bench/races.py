"""``make race-table``: how often planted races are hit, plain, scripted and by each policy.

Every trial is a line of a file, so that a campaign goes on where it was stopped, and more trials
are added by a larger ``-n``. The table, docs/planted.md, is made from that file alone. Trials of
another script, or another policy, than there is now stay in the file and are not counted.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Final

from shootdown.bench import races_table
from shootdown.bench.races_log import Cell, Log, Row
from shootdown.bench.races_trial import METHODS, contents, run_one
from shootdown.errors import ExitCode, ShootdownError, UsageError
from shootdown.race.planted import cells
from shootdown.race.points import nearest
from shootdown.run import directory

_TRIALS: Final = 40
_JOBS: Final = 2
"""Of a trial's time a good part is one thread's work: start, restore, check."""
_PATIENCE: Final = 3
"""Failures of the host or of the kernel's image after which a cell is left alone."""
_LOG: Final = Path("docs/planted.jsonl")
_TABLE: Final = Path("docs/planted.md")


class Campaign:
    """The trials that are missing; those of the cells with the fewest come first.

    So a table of a campaign that was stopped is even.
    """

    def __init__(self, log: Log, wanted: list[Cell], trials: int) -> None:
        """``trials``: how many each of the ``wanted`` cells is to have."""
        self._log = log
        self._known = {cell: log.seeds(cell, contents(cell)) for cell in wanted}
        self._trials = trials
        self._failed: Counter[Cell] = Counter()
        self.error: ShootdownError | None = None
        """Why a cell was left alone."""

    def next(self) -> tuple[Cell, int] | None:
        """The next trial's cell and seed, which count as run from now on; None at the end."""
        left = [c for c in self._known if self._failed[c] < _PATIENCE and self._missing(c)]
        if not left:
            return None
        cell = min(left, key=lambda c: len(self._known[c]))
        seed = self._missing(cell)[0]
        self._known[cell].add(seed)
        return cell, seed

    def _missing(self, cell: Cell) -> list[int]:
        return [n for n in range(1, self._trials + 1) if n not in self._known[cell]]

    def done(self, row: Row) -> None:
        """Keep a trial."""
        self._log.add(row)
        self._failed[row.cell] = 0
        word = "hit" if row.hit else f"no hit, exit {row.exit_code}"
        _tell(f"{' '.join(row.cell)} {row.seed} of {self._trials}: {word}, {row.seconds} s")

    def failed(self, cell: Cell, seed: int, error: ShootdownError) -> None:
        """Forget a trial that could not be run."""
        self._known[cell].discard(seed)
        self._failed[cell] += 1
        self.error = error
        _tell(f"{' '.join(cell)} {seed} of {self._trials}: error: {error}")


def play(campaign: Campaign, jobs: int) -> None:
    """Run all trials, ``jobs`` at a time, in processes that keep what they learn of kernels."""
    with ProcessPoolExecutor(jobs) as pool:
        running: dict[Future[Row], tuple[Cell, int]] = {}
        while True:
            while len(running) < jobs and (following := campaign.next()):
                running[pool.submit(run_one, *following)] = following
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                cell, seed = running.pop(future)
                try:
                    campaign.done(future.result())
                except ShootdownError as error:
                    campaign.failed(cell, seed, error)


def _wanted(options: argparse.Namespace) -> list[Cell]:
    kernels = sorted({planted.kernel for planted, _ in cells()})
    for name in options.kernel or ():
        if name not in kernels:
            raise UsageError(f"nothing is planted in the kernel {name}{nearest(name, kernels)}")
    chosen = [c for c in cells() if c[0].kernel in (options.kernel or kernels)]
    every = [Cell(planted.bug, arch, method) for method in METHODS for planted, arch in chosen]
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
    parser.add_argument("--jobs", type=int, default=_JOBS, help=f"at a time (default: {_JOBS})")
    for name, what in (("bug", "planted race"), ("arch", "architecture"), ("method", "column")):
        text = f"only this {what}; may be given again"
        parser.add_argument(f"--{name}", action="append", metavar="NAME", help=text)
    parser.add_argument(
        "--kernel", action="append", metavar="NAME", help="only this; built ones are built"
    )
    parser.add_argument("--log", type=Path, default=_LOG, help=f"trials (default: {_LOG})")
    parser.add_argument("--out", type=Path, default=_TABLE, help=f"table (default: {_TABLE})")
    parser.add_argument("--table-only", action="store_true", help="run nothing")
    options = parser.parse_args()
    try:
        log = Log(options.log)
        campaign = Campaign(log, [] if options.table_only else _wanted(options), options.n)
        play(campaign, options.jobs)
        directory.write_text(options.out, races_table.document(log.rows))
        if campaign.error:
            raise campaign.error
    except ShootdownError as error:
        print(f"shootdown: error: {error}", file=sys.stderr)
        return int(error.exit_code)
    return ExitCode.PASS


if __name__ == "__main__":
    sys.exit(main())
