"""docs/planted.md, from the trials of planted races."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from shootdown.bench.races_log import Cell, Row
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
on how busy its CPUs are.

The mutations change a stock kernel's text while it runs (`--mutate NAME`, on Debian's 6.12 here);
`built:` kernels have the bug in their source.
"""
_MORE: Final = """
    make race-table                  # runs what is missing of 40 trials a cell, writes this file
    make race-table N=100 BUG=flush-no-wait/munmap

Trials are kept in `planted.jsonl`; an interrupted campaign goes on from there.
"""


def document(rows: Sequence[Row], methods: Sequence[str]) -> str:
    """The whole file; columns for ``methods``, and for every other that has trials."""
    columns = list(dict.fromkeys([*methods, *sorted({row.method for row in rows})]))
    lines = [
        _HEAD,
        _line(["planted", "on", *columns]),
        _line(["---"] * 2 + ["---:"] * len(columns)),
    ]
    for planted, arch in cells():
        found = [_cell(rows, Cell(planted.bug, arch, column)) for column in columns]
        lines.append(_line([f"`{planted.bug}`{_star(planted)}", arch, *found]))
    lines += ["", "\\* a built kernel", "", "## What they are", ""]
    lines += [_line(["planted", "bug", "script", "hit when"]), _line(["---"] * 4)]
    lines += [_line(_described(planted)) for planted in PLANTED]
    return "\n".join(lines) + "\n" + _MORE


def _star(planted: Planted) -> str:
    return "" if planted.mutate else " \\*"


def _described(planted: Planted) -> list[str]:
    rules = ", ".join(f"`{rule}`" for rule in planted.rules)
    return [f"`{planted.bug}`", planted.about, f"`{planted.script}`", rules]


def _cell(rows: Sequence[Row], cell: Cell) -> str:
    trials = [row for row in rows if row.cell == cell]
    if not trials:
        return ""
    hits = sum(row.hit for row in trials)
    low, high = wilson(hits, len(trials))
    return f"{hits} of {len(trials)} ({100 * low:.0f}-{100 * high:.0f} %)"


def _line(words: Sequence[str]) -> str:
    return "| " + " | ".join(words) + " |"
