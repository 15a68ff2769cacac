"""What the checker found, as result.json says it."""

from __future__ import annotations

from shootdown.rules.check import check
from shootdown.run import convert
from tests.rules.corpus import repeated

LATE = 1 << 64
"""A horizon behind all events."""


def test_violation_counts_what_is_not_described_too() -> None:
    report = check(repeated(150))
    assert len(report.violations) == 100
    (violation,) = convert.violations_of(report, None, LATE)
    assert violation.count == 150


def test_what_is_not_described_comes_later() -> None:
    report = check(repeated(150))
    ends = [violation.seq[-1] for violation in report.violations]
    assert convert.tainted(report, 0) == 150
    assert convert.tainted(report, ends[40]) == 110
    assert convert.tainted(report, LATE) == 0
