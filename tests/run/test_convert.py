"""What the checker found, as result.json says it."""

from __future__ import annotations

import re

import pytest

from shootdown.report.splat import splat
from shootdown.rules.check import check
from shootdown.run import convert
from tests.rules.corpus import Case, cases, repeated

PIN = ("by", "task", "seq", "refs")
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


@pytest.mark.parametrize("case", [c for c in cases() if c.expected], ids=lambda case: case.name)
def test_every_detail_is_kept_and_printed(case: Case) -> None:
    report = case.run()
    for violation in convert.violations_of(report, None, LATE):
        first = next(v for v in report.violations if v.fingerprint == violation.fingerprint)
        assert set(violation.details) == set(first.details) - {"locks"}
        words = " ".join(" ".join(splat(violation, "6.12")).split())
        pins = [pin[key] for pin in violation.details.get("pins", ()) for key in PIN]
        others = [value for name, value in violation.details.items() if name != "pins"]
        assert [value for value in (*pins, *others) if str(value) not in words] == []


def test_details_are_in_hexadecimal() -> None:
    (case,) = (c for c in cases() if c.name == "stale-after-return/bad_map_fixed_witness")
    witness = convert.violations_of(case.run(), None, LATE)[0]
    assert witness.kind == "witness"
    assert witness.details == {"access_pc": "0x0", "pa": "0x50010"}
    assert re.search("^PA: +0x50010$", "\n".join(splat(witness, "")), re.MULTILINE)
