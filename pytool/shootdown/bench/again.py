"""``make race-again``: findings of planted races, replayed and shrunk; docs/race-again.md."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from shootdown.bench import trials
from shootdown.bench.again_trial import (
    REPLAYS,
    VERIFIED,
    Cell,
    Row,
    contents,
    of_list,
    run_one,
)
from shootdown.bench.trials import line
from shootdown.race.interval import shown
from shootdown.race.planted import cells

_FINDINGS: Final = 1
_LOG: Final = Path("docs/race-again.jsonl")
_TABLE: Final = Path("docs/race-again.md")
_HEAD: Final = f"""\
<!-- Made by `make race-again` from real runs; do not edit. -->
# Findings of planted races, again and smaller

Of each planted race ([planted.md](planted.md)) a finding of its script: replayed {REPLAYS} times
with its seed (`shootdown replay`), and shrunk (`shootdown shrink`) to the fewest holds that still
give the violation, which then had {VERIFIED} fresh trials. *No hold*: the bug shows
undisturbed as well.

"""
_MORE: Final = """
    make race-again                  # runs what is missing, writes this file
    make race-again N=3 KERNEL=debian:6.12

Findings are kept in `docs/race-again.jsonl`; those of a script that was changed since do not count.
"""


def document(rows: Sequence[Row]) -> str:
    """The whole file."""
    head = ("planted", "on", "finding", "replayed", "holds", "shrunk to", "fresh trials")
    lines = [line(head), line(["---"] * 3 + ["---:"] * 4)]
    counted: list[Row] = []
    for planted, arch in cells():
        cell = Cell(planted.bug, arch)
        found = [row for row in rows if row.cell == cell and row.contents == contents(cell)]
        counted += found
        lines += [_row(row) for row in found] or [line([f"`{planted.bug}`", arch, *[""] * 5])]
    same, replays = sum(row.same for row in counted), sum(row.replays for row in counted)
    small = sum(0 <= row.holds <= 2 for row in counted)
    lines += [
        "",
        f"Replays that showed the finding again: {shown(same, replays)}." if replays else "",
        f"Shrunk to two holds or fewer: {small} of {len(counted)}.",
    ]
    return _HEAD + "\n".join(lines) + "\n" + _MORE


def _row(row: Row) -> str:
    if not row.found_by:
        return line([f"`{row.bug}`", row.arch, "none", "", "", "", ""])
    word = {-1: "did not come back", 0: "no hold"}.get(row.holds, f"{row.holds}, {row.steps} steps")
    return line(
        [
            *(f"`{row.bug}`", row.arch, row.expected, f"{row.same} of {row.replays}"),
            *(str(row.planned), word, f"{row.verified} of {VERIFIED}" if row.holds >= 0 else ""),
        ]
    )


def _wanted(options: argparse.Namespace) -> list[Cell]:
    return [
        Cell(planted.bug, arch)
        for planted, arch in cells()
        if planted.bug in (options.bug or (planted.bug,))
        and arch in (options.arch or (arch,))
        and planted.kernel in (options.kernel or (planted.kernel,))
    ]


def main() -> int:
    """Run what is missing, write the table; returns the exit code."""
    parser = trials.parser("again", __doc__ or "", _FINDINGS, _LOG, _TABLE)
    parser.add_argument("--bug", action="append", help="only this; may be given again")
    work = trials.Work(contents, run_one, document)
    return trials.carry_out(parser.parse_args(), of_list, _wanted, work)


if __name__ == "__main__":
    sys.exit(main())
