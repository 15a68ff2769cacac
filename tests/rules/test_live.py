"""What is checked while it is recorded is judged as it is afterwards."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest

from shootdown.model.stream import Window
from shootdown.rules.check import CheckReport, check
from shootdown.rules.feed import windows
from shootdown.rules.live import LiveCheck
from shootdown.trace.parts import pieces, split
from tests.rules.corpus import Case, TextTrace, cases

SIZES = (3, 40, 1 << 18)


def text_of(case: Case) -> tuple[TextTrace, str]:
    text = case.path.read_text()
    return TextTrace(case.header("arch"), text), case.header("policy", "wilcox")


def live(
    trace: TextTrace, policy: str, size: int, *, foresight: bool
) -> tuple[LiveCheck, CheckReport]:
    """Check a trace in pieces; without foresight the events behind a piece are not known."""
    parts = split(trace.events())
    checker = LiveCheck(trace.arch, policy)
    for window in windows(pieces(parts, size), parts):
        ahead = window.ahead if foresight else {cpu: part[:0] for cpu, part in window.ahead.items()}
        checker.feed(Window(window.parts, window.before, ahead))
    return checker, checker.finish(trace)


def same(one: CheckReport, other: CheckReport) -> None:
    for field in dataclasses.fields(CheckReport):
        assert getattr(one, field.name) == getattr(other, field.name), field.name


@pytest.mark.parametrize("foresight", [True, False])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_corpus(case: Case, size: int, foresight: bool) -> None:
    trace, policy = text_of(case)
    _, report = live(trace, policy, size, foresight=foresight)
    same(report, check(trace, policy))


def test_little_is_checked_twice() -> None:
    """What is said above must not come from the check of the complete trace."""
    doubts: Counter[str] = Counter()
    known = cases()
    for case in known:
        trace, policy = text_of(case)
        checker, _ = live(trace, policy, 3, foresight=True)
        doubts[checker.doubt.partition(":")[0]] += 1
    late = sum(doubts[rule] for rule in doubts if "-" in rule)
    assert doubts[""] + late > 0.9 * len(known), doubts
