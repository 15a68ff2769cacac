"""Adds to findings what only another look at the trace tells: locks, and flushes that came."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from shootdown.rules.base import RuleReport
from shootdown.rules.feed import Feed
from shootdown.rules.flush_evidence import came
from shootdown.rules.lock_evidence import held
from shootdown.rules.panel import CheckReport, in_order
from shootdown.rules.violation import Violation


def with_evidence(report: CheckReport, feed: Feed) -> CheckReport:
    """The report, the first finding of each fingerprint with ``details["locks"]`` and ``came``.

    Costs more looks at the trace, where there is a finding.
    """
    firsts: dict[str, Violation] = {}
    for violation in in_order(report.rules.values()):
        firsts.setdefault(violation.fingerprint, violation)
    if not firsts:
        return replace(report, violations=())
    numbers = np.array(sorted({n for one in firsts.values() for n in one.seq}), np.uint64)
    named = feed.chosen(lambda part: np.isin(part["seq"], numbers))
    locks, flushes = held(firsts, named, feed), came(firsts, named, feed)

    def completed(violation: Violation) -> Violation:
        mark = violation.fingerprint
        if firsts.get(mark) is not violation:
            return violation
        details = {**violation.details, **({"locks": locks[mark]} if locks[mark] else {})}
        shown, others = flushes.get(mark, ((), 0))
        return replace(violation, details=details, came=shown, came_others=others)

    rules = {name: _each(rule, completed) for name, rule in report.rules.items()}
    return replace(report, rules=rules, violations=in_order(rules.values()))


def _each(report: RuleReport, completed: Callable[[Violation], Violation]) -> RuleReport:
    return replace(report, found=tuple(map(completed, report.found)))
