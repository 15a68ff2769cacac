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

from shootdown.bench import library_table
from shootdown.bench.library_trial import Cell, cells, contents, of_list, run_one
from shootdown.bench.trials import JOBS, Campaign, Log
from shootdown.errors import ExitCode, ShootdownError, UsageError
from shootdown.run import directory

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
    parser = argparse.ArgumentParser(prog="library", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("-n", type=int, default=_TRIALS, help=f"trials a cell (default: {_TRIALS})")
    parser.add_argument("--jobs", type=int, default=JOBS, help=f"at a time (default: {JOBS})")
    parser.add_argument("--race", default="*", help="only these, as MODULE::NAME or a pattern")
    parser.add_argument("--arch", action="append", help="only this; may be given again")
    parser.add_argument("--kernel", action="append", help="only this; may be given again")
    parser.add_argument("--log", type=Path, default=_LOG, help=f"trials (default: {_LOG})")
    parser.add_argument("--out", type=Path, default=_TABLE, help=f"table (default: {_TABLE})")
    parser.add_argument("--table-only", action="store_true", help="run nothing")
    options = parser.parse_args()
    try:
        log = Log(options.log, of_list)
        wanted = [] if options.table_only else _wanted(options)
        campaign = Campaign(log, wanted, contents, options.n)
        campaign.play(run_one, options.jobs)
        directory.write_text(options.out, library_table.document(log.rows))
        if campaign.error:
            raise campaign.error
    except ShootdownError as error:
        print(f"shootdown: error: {error}", file=sys.stderr)
        return int(error.exit_code)
    return ExitCode.PASS


if __name__ == "__main__":
    sys.exit(main())
