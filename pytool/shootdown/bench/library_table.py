"""docs/race-library.md, from trials of the library's races on stock kernels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from shootdown.bench.library_trial import Cell, Row, cells, contents
from shootdown.bench.trials import line
from shootdown.errors import ExitCode
from shootdown.run.verdict import ALL_SKIPPED

_HEAD: Final = """\
<!-- Made by `make race-library` from real runs; do not edit. -->
# The races of the library on stock kernels

Every race ([races.md](races.md)) on Debian's kernels as they are packaged. A trial is *as it has to
be* when every hold fired, no rule was broken, no data was lost, and an order that the race calls
infeasible on that architecture timed out. A cell is trials that were, of all; *infeasible*: by
that order; *finding*: with what [findings.md](findings.md) says of that kernel, and nothing else;
*skipped*: the kernel has not what the race is about. What else there was is below the table.
"""


@dataclass(frozen=True)
class Expected:
    """What a race is known to end with on a kernel; docs/findings.md tells why."""

    race: str
    kernel: str
    arch: tuple[str, ...]
    rules: tuple[str, ...] = ()
    """Rules that are violated, and no others."""
    lost: bool = False
    """The workload lost data."""

    def fits(self, row: Row) -> bool:
        """Whether a trial showed this, all holds having fired."""
        return (
            row.fired == row.planned
            and (not self.rules or row.exit_code == ExitCode.VIOLATION)
            and set(filter(None, row.rules.split(","))) == set(self.rules)
            and bool(row.lost) == self.lost
        )


_STALE: Final = ("stale-after-return",)
EXPECTED: Final = (
    Expected("drop_move::dontunmap", "debian:7.2", ("x86_64",), _STALE),
    Expected("drop_move::guard", "debian:7.2", ("x86_64",), _STALE),
    Expected("drop_move::guard_before_tlbi", "debian:7.2", ("arm64",), _STALE),
    Expected("direct::fork_during_read", "debian:6.1", ("x86_64", "arm64"), lost=True),
)


def document(rows: Sequence[Row]) -> str:
    """The whole file."""
    of = {cell: _counted(rows, cell) for cell in cells()}
    columns = sorted({(cell.kernel, cell.arch) for cell in of})
    races = list(dict.fromkeys(cell.race for cell in of))
    lines = [_HEAD, line(["race", *(f"{k} {a}" for k, a in columns)])]
    lines.append(line(["---"] + ["---:"] * len(columns)))
    for race in races:
        found = [_cell(of.get(Cell(race, *column), [])) for column in columns]
        lines.append(line([f"`{race}`", *found]))
    every = [row for trials in of.values() for row in trials]
    releases = ", ".join(sorted({row.release for row in every if row.release}))
    count = sum(_judged(row) for row in every)
    lines += ["", f"{count} trials that were not skipped, of {releases or 'nothing'}."]
    lines += ["", "## What was not as it has to be", "", *_others(every)]
    return "\n".join(lines) + "\n\n" + _MORE


_MORE: Final = """\
    make race-library                # runs what is missing, writes this file
    make race-library N=10 RACE='touch::*' ARCH=arm64

Trials are kept in `docs/race-library.jsonl`; those of a plan that was changed since do not count.
"""


def known(row: Row) -> Expected | None:
    """What the trial's race is known for on its kernel."""
    for one in EXPECTED:
        if (one.race, one.kernel) == (row.race, row.kernel) and row.arch in one.arch:
            return one
    return None


def right(row: Row) -> bool:
    """Whether a trial ended as it has to."""
    if expected := known(row):
        return expected.fits(row)
    return row.exit_code == ExitCode.PASS and row.fired == row.planned and not row.lost


def _judged(row: Row) -> bool:
    """Whether the kernel has what the race is about: its points, and what the workload needs."""
    unrun = (ExitCode.USAGE, ExitCode.SKIPPED)
    return row.exit_code not in unrun and row.reason != ALL_SKIPPED


def _counted(rows: Sequence[Row], cell: Cell) -> list[Row]:
    return [row for row in rows if row.cell == cell and row.contents == contents(cell)]


def _cell(trials: Sequence[Row]) -> str:
    if not trials:
        return ""
    judged = [row for row in trials if _judged(row)]
    if not judged:
        return "skipped"
    text = f"{sum(map(right, judged))} of {len(judged)}"
    if any(known(row) for row in judged):
        return f"{text}, finding"
    return f"{text}, infeasible" if any(row.infeasible for row in judged) else text


def _others(rows: Sequence[Row]) -> list[str]:
    """Each way in which trials were not right, or skipped, once."""
    found: dict[str, int] = {}
    for row in rows:
        if _judged(row) and right(row):
            continue
        where = f"`{row.race}` on {row.kernel} {row.arch}"
        what = (
            f"{row.fired} of {row.planned} holds fired, {row.timed_out} timed out; {row.reason}"
            if _judged(row)
            else f"skipped: {row.reason}"
        )
        text = f"{where}: exit {row.exit_code}, {what}"
        found[text] = found.get(text, 0) + 1
    return [f"* {text} ({count} times)" for text, count in found.items()] or ["Nothing."]
