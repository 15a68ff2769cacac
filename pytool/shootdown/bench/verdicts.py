"""docs/verdicts.md: what a campaign found, as tables; ``figures`` is what it keeps of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from shootdown.errors import ExitCode
from shootdown.run.verdict import inapplicable

Outcome = Mapping[str, Any]
"""One line of the campaign's file: ``cell``, ``exit``, ``commit`` and ``figures`` of the run."""

MAP_FIXED: Final = "mmap(MAP_FIXED)"
_HEAD: Final = """\
<!-- Made by `make campaign` from real runs; do not edit. -->
# What stock kernels did

Debian's kernels as they are packaged ({releases}), all groups of events
recorded, all rules armed. Every cell is a guest of its own. Made with {commits}; what the
tables are made of is in `verdicts.jsonl`, from where `make campaign` goes on.

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
_LOADS: Final = """\

## stress-ng

Situations judged in each stressor's run (events in millions). *Skipped*: it cannot run in that
guest, or gave no rule anything to judge.
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
    }


def skipped(outcome: Outcome) -> bool:
    """Whether the run had nothing to judge."""
    return inapplicable(outcome["exit"], outcome.get("reasons", []))


def failed(outcome: Outcome) -> bool:
    """Whether the run neither passed nor was skipped."""
    return outcome["exit"] != ExitCode.PASS and not skipped(outcome)


def document(outcomes: Sequence[Outcome]) -> str:
    """The text of docs/verdicts.md."""
    commits = _every("commit", outcomes)
    own = [o for o in outcomes if ":" not in o["cell"]["what"]]
    head = _HEAD.format(commits=commits, releases=_every("release", outcomes))
    lines = [head, *_map_fixed(own)]
    lines += [_RULES, *_rules(own), _LOADS, *_loads([o for o in outcomes if o not in own])]
    lines += ["", "## Everything that did not pass", "", *_failures(outcomes)]
    return "\n".join(lines) + "\n"


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
        _kernel(outcome),
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
    kernels = list(dict.fromkeys(map(_kernel, ran)))
    names = list(dict.fromkeys(name for o in ran for name in o["rules"]))
    rows = [
        [f"`{name}`", *(_situations(name, [o for o in ran if _kernel(o) == k]) for k in kernels)]
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


def _loads(outcomes: Sequence[Outcome]) -> list[str]:
    kernels = list(dict.fromkeys(_kernel(o) for o in _sorted(outcomes) if _ran(o)))
    cells = {(o["cell"]["what"], _kernel(o)): _load(o) for o in outcomes if _ran(o)}
    names = sorted({what for what, _ in cells})
    rows = [
        [f"`{name.partition(':')[2]}`", *(cells.get((name, kernel), "") for kernel in kernels)]
        for name in names
    ]
    return _table(("stressor", *kernels), rows)


def _load(outcome: Outcome) -> str:
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


def _kernel(outcome: Outcome) -> str:
    return f"{outcome['cell']['kernel']} {outcome['cell']['arch']}"


def _sorted(outcomes: Sequence[Outcome]) -> list[Outcome]:
    return sorted(outcomes, key=lambda o: tuple(o["cell"].values()))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", "| --- |" + " --: |" * (len(head) - 1)]
    return lines + [f"| {' | '.join(row)} |" for row in rows]
