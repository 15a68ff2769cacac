"""docs/planted.md, from the trials of planted races."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Final

from shootdown.bench.races_log import Cell, Row
from shootdown.bench.races_trial import METHODS, contents
from shootdown.bench.trials import line
from shootdown.race.interval import wilson
from shootdown.race.planted import PLANTED, Planted, cells

_HEAD: Final = """\
<!-- Made by `make race-table` from its trials; do not edit. -->
# Planted races

Kernels with a known bug, and how often it is found in a trial: a guest restored from a snapshot in
which a workload takes a few steps. *plain*: undisturbed. *scripted*: with the holds of the race
that was written for it. The other columns are policies, which delay vCPUs at random. A cell is
hits, trials, and Wilson's 95 % interval of the rate; a hit is a violation of the rules named below,
by the system call that has the bug. All rates are of one machine: what happens undisturbed depends
on how busy its CPUs are, which shows in the seconds of a trial.

The mutations change a stock kernel's text while it runs (`--mutate NAME`); `built:` kernels, with a
star, have the bug in their source.
"""
_MORE: Final = """
    make race-table                  # runs what is missing of 40 trials a cell, writes this file
    make race-table N=100 BUG=flush-no-wait/munmap

Trials are kept in `docs/planted.jsonl`; an interrupted campaign goes on from there. A line is a
list: planted race, architecture, column, seed, hit, exit code, holds that fired, holds that timed
out, seconds, kernel, and a digest of workload, script or policy. Trials with another digest than
that of today's script or policy are not counted.
"""
_RARE: Final = 0.05
"""Rates below it are those that a policy is for."""


def document(rows: Sequence[Row]) -> str:
    """The whole file."""
    found = _Trials(rows)
    lines = [
        _HEAD,
        line(["planted", "on", *METHODS]),
        line(["---"] * 2 + ["---:"] * len(METHODS)),
    ]
    for planted, arch in cells():
        shown = [_cell(found.of(Cell(planted.bug, arch, method))) for method in METHODS]
        lines.append(line([f"`{planted.bug}`{_star(planted)}", arch, *shown]))
    lines += ["", "\\* a built kernel", "", *_rare(found), *_summary(found)]
    lines += ["", "## What they are", ""]
    lines += [line(["planted", "bug", "script", "hit when"]), line(["---"] * 4)]
    lines += [line(_described(planted)) for planted in PLANTED]
    return "\n".join(lines) + "\n" + _MORE


class _Trials:
    # The rows that count, by cell.

    def __init__(self, rows: Sequence[Row]) -> None:
        self._of: dict[Cell, list[Row]] = {}
        for planted, arch in cells():
            for method in METHODS:
                cell = Cell(planted.bug, arch, method)
                now = contents(cell)
                self._of[cell] = [r for r in rows if r.cell == cell and r.contents == now]

    def of(self, cell: Cell) -> list[Row]:
        return self._of[cell]

    def column(self, method: str) -> list[list[Row]]:
        """The trials of each cell that has some."""
        return [rows for cell, rows in self._of.items() if cell.method == method and rows]

    @property
    def kernels(self) -> list[str]:
        return sorted({row.kernel for rows in self._of.values() for row in rows})


def _rare(found: _Trials) -> list[str]:
    """Where the bug is hardly found undisturbed: how many times as often each method finds it."""
    lines = []
    for planted, arch in cells():
        plain = found.of(Cell(planted.bug, arch, "plain"))
        if not plain or _hits(plain) >= _RARE * len(plain):
            continue
        rate = _hits(plain) / len(plain) or wilson(0, len(plain))[1]
        sign = "" if _hits(plain) else "> "
        factors = [
            f"{sign}{_hits(rows) / len(rows) / rate:.1f}" if rows else ""
            for method in METHODS
            if method != "plain"
            for rows in [found.of(Cell(planted.bug, arch, method))]
        ]
        shown = f"{_hits(plain)} of {len(plain)}"
        lines.append(line([f"`{planted.bug}`{_star(planted)}", arch, shown, *factors]))
    if not lines:
        return []
    others = [method for method in METHODS if method != "plain"]
    return [
        "## Where undisturbed trials find next to nothing",
        "",
        "Hit rates as multiples of the plain one, where that is below 5 %. Where no plain trial",
        "hit, the upper bound of its interval stands for it, and the multiple is a lower bound.",
        "",
        line(["planted", "on", "plain", *others]),
        line(["---"] * 2 + ["---:"] * (len(others) + 1)),
        *lines,
        "",
    ]


def _summary(found: _Trials) -> list[str]:
    """By column: trials, time, and the cells that the method is not sure of."""
    if not found.kernels:
        return []
    head = ["column", "cells", "trials of a cell", "median seconds of a trial", "cells below 95 %"]
    lines = ["## Columns", "", line(head), line(["---"] + ["---:"] * (len(head) - 1))]
    for method in METHODS:
        column = found.column(method)
        if not column:
            continue
        counts = [len(rows) for rows in column]
        seconds = median(row.seconds for rows in column for row in rows)
        unsure = sum(_hits(rows) < 0.95 * len(rows) for rows in column)
        least = f"{min(counts)} to {max(counts)}" if min(counts) < max(counts) else str(min(counts))
        lines.append(line([method, str(len(column)), least, f"{seconds:.2f}", str(unsure)]))
    return [*lines, "", f"Kernels: {', '.join(found.kernels)}."]


def _hits(rows: Sequence[Row]) -> int:
    return sum(row.hit for row in rows)


def _star(planted: Planted) -> str:
    return "" if planted.mutate else " \\*"


def _described(planted: Planted) -> list[str]:
    rules = ", ".join(f"`{rule}`" for rule in planted.rules)
    return [f"`{planted.bug}`", planted.about, f"`{planted.script}`", rules]


def _cell(trials: Sequence[Row]) -> str:
    if not trials:
        return ""
    low, high = wilson(_hits(trials), len(trials))
    return f"{_hits(trials)} of {len(trials)} ({100 * low:.0f}-{100 * high:.0f} %)"
