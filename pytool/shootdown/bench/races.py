"""``make race-table``: how often planted races are hit, plain, scripted and by each policy.

Every trial is a line of a file, so that a campaign goes on where it was stopped, and more trials
are added by a larger ``-n``. The table, docs/planted.md, is made from that file alone. Trials of
another script, or another policy, than there is now stay in the file and are not counted.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

from shootdown.bench import races_table
from shootdown.bench.races_log import Cell, of_list
from shootdown.bench.races_trial import METHODS, contents, run_one
from shootdown.bench.trials import JOBS, Campaign, Log
from shootdown.errors import ExitCode, ShootdownError, UsageError
from shootdown.race.planted import cells
from shootdown.race.points import nearest
from shootdown.run import directory

_TRIALS: Final = 40
_LOG: Final = Path("docs/planted.jsonl")
_TABLE: Final = Path("docs/planted.md")


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


def main() -> int:
    """Run what is missing of the campaign, write the table; returns the exit code."""
    parser = argparse.ArgumentParser(prog="races", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("-n", type=int, default=_TRIALS, help=f"trials a cell (default: {_TRIALS})")
    parser.add_argument("--jobs", type=int, default=JOBS, help=f"at a time (default: {JOBS})")
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
        log = Log(options.log, of_list)
        wanted = [] if options.table_only else _wanted(options)
        campaign = Campaign(log, wanted, contents, options.n)
        campaign.play(run_one, options.jobs)
        directory.write_text(options.out, races_table.document(log.rows))
        if campaign.error:
            raise campaign.error
    except ShootdownError as error:
        print(f"shootdown: error: {error}", file=sys.stderr)
        return int(error.exit_code)
    return ExitCode.PASS


if __name__ == "__main__":
    sys.exit(main())
