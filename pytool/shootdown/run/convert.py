"""From what the checker found to what result.json says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from shootdown import arch
from shootdown.errors import ShootdownError
from shootdown.kernel import facts
from shootdown.kernel.cache import cache_root
from shootdown.kernel.symbols import SymbolTable, read_map
from shootdown.report.result import Rule, Violation, Windows, Workload
from shootdown.rules import base
from shootdown.rules.check import CheckReport
from shootdown.rules.violation import Invalidation
from shootdown.rules.violation import Violation as Found
from shootdown.trace.functions import NAMES

_DECIMAL: Final = ("seq", "refs")
"""Details that are no addresses or other words."""


def rules_of(report: CheckReport) -> dict[str, Rule]:
    """Every rule's figures over the whole run."""
    return {name: _rule(rule, rule) for name, rule in report.rules.items()}


def with_rules(
    workloads: Iterable[Workload], report: CheckReport, phase: str = ""
) -> list[Workload]:
    """The workloads with the figures of their phases.

    The agent brackets each with marks of its name, of a load what follows the colon; ``phase`` is
    the name where it differs.
    """
    return [
        _with_rules(workload, report, phase or workload.name.rpartition(":")[2])
        for workload in workloads
    ]


def coverage_of(report: CheckReport, symbols: SymbolTable | None) -> dict[str, int]:
    """The report's, and how many stores to user tables each kernel function made."""
    found: Counter[str] = Counter()
    for pc, count in report.writers.items():
        name = symbols.at(pc)[0] if symbols else ""
        found[f"pte write:{name or f'{pc:#x}'}"] += count
    return report.coverage | dict(sorted(found.items()))


def windows_of(report: CheckReport) -> list[Windows]:
    """The measured windows, with what observers saw beside them."""
    return [
        Windows(
            operation=w.operation,
            replacements=w.replacements,
            count=w.count,
            p50=w.percentile(50),
            p99=w.percentile(99),
            max=w.longest,
            closed=w.closed,
            outlived=w.outlived,
            reused=w.reused,
            observers=report.observers.get(w.operation, {}),
            deferred=w.deferred,
            aliased=len(w.aliased),
            unfinished=w.unfinished,
        )
        for w in report.windows
    ]


def violations_of(
    report: CheckReport, symbols: SymbolTable | None, horizon: int
) -> list[Violation]:
    """One violation for each fingerprint: the first whose evidence is complete, else the first.

    Evidence is complete when all of its events come before ``horizon``. Witnesses come first.
    """
    groups: dict[str, list[Found]] = {}
    for one in report.violations:
        groups.setdefault(one.fingerprint, []).append(one)
    chosen = [
        replace(
            _chosen(group, symbols, horizon),
            count=report.rules[group[0].rule].times[group[0].fingerprint],
        )
        for group in groups.values()
    ]
    return sorted(chosen, key=lambda one: one.kind != "witness")


def tainted(report: CheckReport, horizon: int) -> int:
    """How many violations rest on an event at ``horizon`` or behind it.

    Those that are only counted came after the described ones of their fingerprint: they do where
    the last of these does.
    """
    last = {one.fingerprint: one for one in report.violations}
    late = [mark for mark, one in last.items() if max(one.seq) >= horizon]
    described = Counter(one.fingerprint for one in report.violations)
    only_counted = sum(report.rules[last[mark].rule].times[mark] - described[mark] for mark in late)
    return only_counted + sum(max(one.seq) >= horizon for one in report.violations)


def symbols_of(command: Mapping[str, object], beside: Path | None = None) -> SymbolTable | None:
    """The symbols of the kernel that command.json names; None when the image is gone.

    ``beside``: a System.map that counts instead where there is one, with what a run needs of it.
    """
    if beside is not None and beside.is_file():
        return read_map(beside.read_bytes(), str(beside))
    kernel = command.get("kernel")
    if not isinstance(kernel, dict):
        return None
    # The file that was given, beside which its symbols may be, or what was unpacked from it.
    files = kernel.get("files")
    given = files[0] if isinstance(files, list) and files else kernel.get("image", "")
    image = Path(str(given))
    if not image.is_file():
        return None
    try:
        return facts.load(image, cache_root()).symbols
    except ShootdownError:
        return None


def _rule(figures: base.Figures | base.RuleReport, rule: base.RuleReport) -> Rule:
    return Rule(
        armed=rule.armed,
        exercised=figures.exercised,
        violations=figures.violations if rule.armed else 0,
        may=figures.may if rule.armed else 0,
        witness=figures.witness if rule.armed else 0,
        note=rule.note,
    )


def _with_rules(workload: Workload, report: CheckReport, phase: str) -> Workload:
    rules = {
        name: _rule(rule.phases.get(phase, base.Figures()), rule)
        for name, rule in report.rules.items()
    }
    return replace(workload, rules=rules)


def _chosen(group: list[Found], symbols: SymbolTable | None, horizon: int) -> Violation:
    complete = [one for one in group if max(one.seq) < horizon]
    first = (complete or group)[0]
    describe = arch.get(first.arch).mmu.describe
    function, offset = symbols.at(first.pc) if symbols else ("", first.pc)
    return Violation(
        rule=first.rule,
        kind=first.kind,
        arch=first.arch,
        mm=first.mm,
        va=first.va,
        cpus=first.cpus,
        site=first.site,
        summary=first.summary,
        fingerprint=first.fingerprint,
        seq=first.seq,
        pc=f"{function}+{offset:#x}" if function else f"{offset:#x}",
        operation=first.operation,
        task=first.task,
        cpu=first.cpu,
        stack=_names(first.stack),
        holders=[{**asdict(one), "stack": _names(one.stack)} for one in first.holders],
        came=[_invalidation(one) for one in first.came],
        came_others=first.came_others,
        workload=first.workload,
        level=first.level,
        before=first.before,
        after=first.after,
        before_text=describe(first.before, first.level),
        after_text=describe(first.after, first.level),
        missing=first.missing,
        complete=bool(complete),
        locks=[_lock(lock) for lock in _locks(first.details.get("locks"))],
        details={name: _hex(name, x) for name, x in first.details.items() if name != "locks"},
    )


def _names(stack: Iterable[int]) -> list[str]:
    return [NAMES.get(function, str(function)) for function in stack]


def _invalidation(one: Invalidation) -> dict[str, Any]:
    return {**asdict(one), "start": f"{one.start:#x}", "end": f"{one.end:#x}"}


def _hex(name: str, value: object) -> object:
    """A detail as it is written: words in hexadecimal, numbers of events and counts as they are."""
    if isinstance(value, list):
        return [{key: _hex(key, x) for key, x in one.items()} for one in value]
    return f"{value:#x}" if isinstance(value, int) and name not in _DECIMAL else value


def _locks(value: object) -> list[dict[str, Any]]:
    return value if isinstance(value, list) else []


def _lock(value: dict[str, Any]) -> dict[str, Any]:
    return {**value, "of": f"{value['of']:#x}"}
