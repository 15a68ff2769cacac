"""Adds to findings who held which lock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace

import numpy as np

from shootdown.model.holders import Holders, Moment, wanted
from shootdown.model.pagetables import PAGE_SIZE
from shootdown.rules.base import RuleReport
from shootdown.rules.feed import Feed
from shootdown.rules.panel import CheckReport, in_order
from shootdown.rules.violation import Violation
from shootdown.trace.schema import Kind
from shootdown.trace.types import Events


def with_locks(report: CheckReport, feed: Feed) -> CheckReport:
    """The report, the first finding of each fingerprint with ``details["locks"]``.

    The moment is that of the store that a finding is about. Costs another look at the trace, where
    there is a finding.
    """
    firsts: dict[str, Violation] = {}
    for rule in report.rules.values():
        for violation in rule.found if rule.armed else ():
            firsts.setdefault(violation.fingerprint, violation)
    if not firsts:
        return replace(report, violations=in_order(report.rules.values()))
    numbers = sorted({seq for violation in firsts.values() for seq in violation.seq})
    named = feed.chosen(lambda part: np.isin(part["seq"], np.array(numbers, np.uint64)))
    moments = {mark: _moment(violation, named) for mark, violation in firsts.items()}
    events = feed.chosen(lambda part: wanted(part, list(moments.values())))
    holders = Holders(events)
    found = {mark: [asdict(one) for one in holders.at(at)] for mark, at in moments.items()}
    rules = {name: _added(rule, firsts, found) for name, rule in report.rules.items()}
    return replace(report, rules=rules, violations=in_order(rules.values()))


def _moment(violation: Violation, named: Events) -> Moment:
    """When and where: the first store among the events of a finding, or its last event."""
    mine = named[np.isin(named["seq"], np.array(violation.seq, np.uint64))]
    stores = mine[mine["kind"] == Kind.PTE_WRITE]
    seq = int(stores["seq"][0]) if len(stores) else violation.seq[-1]
    slot = int(stores["a"][0]) if len(stores) else 0
    return Moment(seq, violation.mm, slot & -PAGE_SIZE, violation.va)


def _added(
    report: RuleReport,
    firsts: Mapping[str, Violation],
    found: Mapping[str, list[dict[str, object]]],
) -> RuleReport:
    described = []
    for violation in report.found:
        held_then = found.get(violation.fingerprint)
        if held_then and firsts[violation.fingerprint] is violation:
            details = {**violation.details, "locks": held_then}
            described.append(replace(violation, details=details))
        else:
            described.append(violation)
    return replace(report, found=tuple(described))
