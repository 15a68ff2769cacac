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

from shootdown.bench import races_table, trials
from shootdown.bench.races_log import Cell, of_list
from shootdown.bench.races_trial import METHODS, contents, run_one
from shootdown.errors import UsageError
from shootdown.race.planted import cells
from shootdown.race.points import nearest

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
    parser = trials.parser("races", __doc__ or "", _TRIALS, _LOG, _TABLE)
    for name, what in (("bug", "planted race"), ("method", "column")):
        text = f"only this {what}; may be given again"
        parser.add_argument(f"--{name}", action="append", metavar="NAME", help=text)
    work = trials.Work(contents, run_one, races_table.document)
    return trials.carry_out(parser.parse_args(), of_list, _wanted, work)


if __name__ == "__main__":
    sys.exit(main())
