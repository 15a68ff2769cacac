"""``make race-library``: every race of the library on every stock kernel; docs/race-library.md.

Each race has to run to its end there: every hold fires, an order that is said to be infeasible
times out, no rule is broken. ``library_table.EXPECTED`` has what is known to end otherwise.
"""

from __future__ import annotations

import argparse
import fnmatch
import sys
from pathlib import Path
from typing import Final

from shootdown.bench import library_table, trials
from shootdown.bench.library_trial import Cell, cells, contents, of_list, run_one
from shootdown.errors import UsageError

_TRIALS: Final = 3
_LOG: Final = Path("docs/race-library.jsonl")
_TABLE: Final = Path("docs/race-library.md")


def _wanted(options: argparse.Namespace) -> list[Cell]:
    found = [
        cell
        for cell in cells()
        if fnmatch.fnmatchcase(cell.race, options.race)
        and cell.arch in (options.arch or (cell.arch,))
        and cell.kernel in (options.kernel or (cell.kernel,))
    ]
    if not found:
        raise UsageError(f"no race of the library, kernel and architecture fit: {options.race}")
    return found


def main() -> int:
    """Run what is missing of the campaign, write the table; returns the exit code."""
    parser = trials.parser("library", __doc__ or "", _TRIALS, _LOG, _TABLE)
    parser.add_argument("--race", default="*", help="only these, as MODULE::NAME or a pattern")
    work = trials.Work(contents, run_one, library_table.document)
    return trials.carry_out(parser.parse_args(), of_list, _wanted, work)


if __name__ == "__main__":
    sys.exit(main())
