"""docs/verdicts.md: what a campaign found, as tables; ``figures`` is what it keeps of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from shootdown.errors import ExitCode
from shootdown.rules.deadline_rows import ROWS
from shootdown.run.verdict import inapplicable

Outcome = Mapping[str, Any]
"""One line of the campaign's file: ``cell``, ``exit``, ``commit`` and ``figures`` of the run."""
Place = Mapping[str, str]
"""A cell of the campaign: ``kernel``, ``arch`` and ``what``."""

MAP_FIXED: Final = "mmap(MAP_FIXED)"
_HEAD: Final = """\
<!-- Made by `make campaign` from real runs; do not edit. -->
# What stock kernels did

Debian's kernels as they are packaged ({releases}), all groups of events
recorded, all rules armed. Every cell is a guest of its own. {ran} of {planned} cells have been run.
Made with {commits}; what the tables are made of is in `verdicts.jsonl`, from where `make campaign`
goes on.

## MAP_FIXED: Wilcox and Glisse

While one thread replaces mappings with `mmap(MAP_FIXED)`, two others read them. *Windows* are the
times in which another CPU could still hold the translation that was taken away, in guest
instructions of all CPUs. *Two pages live* counts windows in which a new page became live at the
address before the old translation was gone everywhere: what Glisse asks never to happen, and what
the runs judge (`--policy glisse`). *Outlived* counts windows still open when the call had returned:
what Wilcox asks never to happen. *Old seen* is how often an observer read the old page in a window.
"""
_RULES: Final = """\

## Rules

How often the situation of each rule came up in the own workloads together, and violations where
there were any. A dash: the rule is not armed there.

The own workloads are `map_fixed`, `munmap`, `mprotect`, `mremap`, `madvise` and `fork_cow`. Others
([workloads.md](workloads.md)) do what these do not, and are no part of a campaign: `pinned_fork`,
`table_walk`, those of races, of counting and of the audit. `drop_move` with `by=0` or `by=2`
violates on stock 7.2 on purpose ([findings.md](findings.md)).
"""
_DEADLINES: Final = """\

## Deadlines

How often each row of the rule `flush-deadline` was exercised in all runs together: its moment came
with an entry that another CPU may have held. {counted} of {ran} runs have kept count; a question
mark where none of the kernel has.
"""
_DEADLINE: Final = "deadline:"
_NO_ROW: Final = "no row"
"""What coverage calls the situations of the rows, and those of none (``rules.flush_deadline``)."""
_OWN: Final = """\

## Own workloads

Situations judged in each workload's run (events in millions). *Skipped*: it cannot run in that
guest, or gave no rule anything to judge. *Not run*: nothing is known yet. A dash: it is no cell of
the campaign, since it does not work there.
"""
_LOADS: Final = """\

## stress-ng

The same of each stressor.
"""


def figures(result: Mapping[str, Any]) -> dict[str, Any]:
    """What of result.json the tables need."""
    return {
        "release": result["kernel"]["release"],
        "reasons": result["reasons"],
        "events": sum(result["events"].values()),
        "lost": result["lost"],
        "audit": [result["audit"][key] for key in ("mismatches", "unknown_tables")],
        "windows": [w for w in result["windows"] if w["operation"] == MAP_FIXED],
        "rules": {
            name: [rule["armed"], rule["exercised"], rule["violations"]]
            for name, rule in result["rules"].items()
        },
        "deadlines": {
            name.removeprefix(_DEADLINE): count
            for name, count in result["coverage"].items()
            if name.startswith(_DEADLINE) and count
        },
    }


def skipped(outcome: Outcome) -> bool:
    """Whether the run had nothing to judge."""
    return inapplicable(outcome["exit"], outcome.get("reasons", []))


def failed(outcome: Outcome) -> bool:
    """Whether the run neither passed nor was skipped."""
    return outcome["exit"] != ExitCode.PASS and not skipped(outcome)


def document(outcomes: Sequence[Outcome], planned: Sequence[Place]) -> str:
    """The text of docs/verdicts.md; ``planned`` are all cells of the campaign."""
    own = [o for o in outcomes if not _is_load(o["cell"])]
    known = [o["cell"] for o in outcomes if _ran(o)]
    head = _HEAD.format(
        commits=_every("commit", outcomes),
        releases=_every("release", outcomes),
        ran=sum(cell in known for cell in planned),
        planned=len(planned),
    )
    lines = [head, *_map_fixed(own), _RULES, *_rules(own), *_deadlines(outcomes)]
    lines += [_OWN, *_cells("workload", own, [cell for cell in planned if not _is_load(cell)])]
    loads = [o for o in outcomes if o not in own]
    lines += [_LOADS, *_cells("stressor", loads, [cell for cell in planned if _is_load(cell)])]
    lines += ["", "## Everything that did not pass", "", *_failures(outcomes)]
    return "\n".join(lines) + "\n"


def _is_load(cell: Place) -> bool:
    return ":" in cell["what"]


def _every(key: str, outcomes: Sequence[Outcome]) -> str:
    return ", ".join(sorted({o[key] for o in outcomes if o.get(key)})) or "none"


def _map_fixed(outcomes: Sequence[Outcome]) -> list[str]:
    head = ("kernel", "calls judged", "windows", "p50", "p99", "max", "old seen")
    rows = [
        _map_fixed_row(o) for o in _sorted(outcomes) if o["cell"]["what"] == "map_fixed" and _ran(o)
    ]
    return _table((*head, "two pages live", "outlived", "Glisse", "Wilcox"), rows)


def _map_fixed_row(outcome: Outcome) -> list[str]:
    window = (outcome["windows"] or [{}])[0]
    old = sum(saw.get("stale", 0) for saw in window.get("observers", {}).values())
    keys = ("count", "p50", "p99", "max")
    judged, broken = outcome["rules"]["stale-after-return"][1:]
    return [
        _kernel(outcome["cell"]),
        str(judged),
        *(str(window.get(key, 0)) for key in keys),
        str(old),
        str(window.get("aliased", 0)),
        str(window.get("outlived", 0)),
        _kept(outcome["rules"]["aliased-translation"][2]),
        _kept(broken),
    ]


def _kept(violations: int) -> str:
    return f"broken {violations} times" if violations else "kept"


def _rules(outcomes: Sequence[Outcome]) -> list[str]:
    ran = [o for o in _sorted(outcomes) if _ran(o)]
    kernels = list(dict.fromkeys(_kernel(o["cell"]) for o in ran))
    names = list(dict.fromkeys(name for o in ran for name in o["rules"]))
    rows = [
        [f"`{name}`", *(_situations(name, _of_kernel(ran, kernel)) for kernel in kernels)]
        for name in names
    ]
    return _table(("rule", *kernels), rows)


def _situations(name: str, outcomes: Sequence[Outcome]) -> str:
    rules = [o["rules"][name] for o in outcomes if name in o["rules"]]
    judged = [(exercised, found) for armed, exercised, found in rules if armed]
    if not judged:
        return "-"
    exercised, violations = map(sum, zip(*judged, strict=True))
    return f"{exercised:,}" + (f", **{violations} violations**" if violations else "")


def _deadlines(outcomes: Sequence[Outcome]) -> list[str]:
    ran = [o for o in _sorted(outcomes) if _ran(o)]
    kernels = list(dict.fromkeys(_kernel(o["cell"]) for o in ran))
    titles = {row.id: f"{row.id}, {row.title}" for row in ROWS} | {_NO_ROW: _NO_ROW}
    rows = [
        [title, *(_times(id, _of_kernel(ran, kernel)) for kernel in kernels)]
        for id, title in titles.items()
    ]
    counted = sum("deadlines" in o for o in ran)
    text = _DEADLINES.format(counted=counted, ran=len(ran))
    return [text, *_table(("row", *kernels), rows)]


def _times(row: str, outcomes: Sequence[Outcome]) -> str:
    kept = [o["deadlines"].get(row, 0) for o in outcomes if "deadlines" in o]
    return f"{sum(kept):,}" if kept else "?"


def _cells(word: str, outcomes: Sequence[Outcome], planned: Sequence[Place]) -> list[str]:
    ran = {(o["cell"]["what"], _kernel(o["cell"])): _cell(o) for o in outcomes if _ran(o)}
    known = {(cell["what"], _kernel(cell)): "not run" for cell in planned} | ran
    kernels = sorted({kernel for _, kernel in known})
    rows = [
        [f"`{what.rpartition(':')[2]}`", *(known.get((what, kernel), "-") for kernel in kernels)]
        for what in sorted({what for what, _ in known})
    ]
    return _table((word, *kernels), rows)


def _cell(outcome: Outcome) -> str:
    if skipped(outcome):
        return "skipped"
    exercised = sum(times for armed, times, _ in outcome["rules"].values() if armed)
    text = f"{exercised:,} ({outcome['events'] / 1e6:.2f})"
    return f"**{text}, exit {outcome['exit']}**" if failed(outcome) else text


def _failures(outcomes: Sequence[Outcome]) -> list[str]:
    return [
        f"* {o['cell']['kernel']} {o['cell']['arch']}, {o['cell']['what']}: exit {o['exit']}: "
        f"{'; '.join(o.get('reasons', []))}"
        for o in _sorted(outcomes)
        if failed(o)
    ] or ["Nothing."]


def _ran(outcome: Outcome) -> bool:
    return "rules" in outcome


def _kernel(cell: Place) -> str:
    return f"{cell['kernel']} {cell['arch']}"


def _of_kernel(outcomes: Sequence[Outcome], kernel: str) -> list[Outcome]:
    return [o for o in outcomes if _kernel(o["cell"]) == kernel]


def _sorted(outcomes: Sequence[Outcome]) -> list[Outcome]:
    return sorted(outcomes, key=lambda o: tuple(o["cell"].values()))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", "| --- |" + " --: |" * (len(head) - 1)]
    return lines + [f"| {' | '.join(row)} |" for row in rows]
