"""What is checked while it is recorded is judged as it is afterwards."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings

from shootdown.model.stream import Window
from shootdown.rules.check import POLICIES, CheckReport, check
from shootdown.rules.live import LATE, LiveCheck
from shootdown.trace.parts import split
from shootdown.trace.text import parse
from shootdown.trace.types import Events
from tests.rules.corpus import Case, TextTrace, cases
from tests.rules.test_two_checkers import VA, Arm64Guest, Written, X86Guest


def text_of(case: Case) -> tuple[TextTrace, str]:
    text = case.path.read_text()
    return TextTrace(case.header("arch"), text), case.header("policy", "wilcox")


def cut(events: Events, size: int, *, foresight: bool) -> Iterator[Window]:
    """Pieces of ``size`` events; without foresight nobody knows what comes behind a piece."""
    parts, before = split(events), dict[int, int]()
    for first in range(0, len(events), size):
        piece = split(events[first : first + size])
        rest = split(events[first + size :]) if foresight else {}
        ahead = {cpu: rest.get(cpu, events[:0])[:1] for cpu in parts}
        yield Window({cpu: piece.get(cpu, events[:0]) for cpu in parts}, dict(before), ahead)
        before |= {cpu: int(part["seq"][-1]) for cpu, part in piece.items()}


def live(
    trace: TextTrace | Written, policy: str, size: int, *, foresight: bool
) -> tuple[LiveCheck, CheckReport]:
    """Check a trace piece by piece."""
    checker = LiveCheck(trace.arch, policy)
    for window in cut(trace.events(), size, foresight=foresight):
        checker.feed(window)
    return checker, checker.finish(trace)


def same(one: CheckReport, other: CheckReport) -> None:
    for field in dataclasses.fields(CheckReport):
        assert getattr(one, field.name) == getattr(other, field.name), field.name


@pytest.mark.parametrize(("size", "foresight"), [(1, False), (30, True)])
@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_corpus(case: Case, size: int, foresight: bool) -> None:
    trace, policy = text_of(case)
    _, report = live(trace, policy, size, foresight=foresight)
    same(report, check(trace, policy))


def test_little_is_checked_twice() -> None:
    """What is said above must not come from the check of the complete trace."""
    doubts: Counter[str] = Counter()
    for case in cases():
        trace, policy = text_of(case)
        checker, _ = live(trace, policy, 20, foresight=True)
        doubts[checker.doubt.rpartition(": ")[2]] += 1
    sure = doubts.pop("")
    del doubts[LATE]  # rules that look at the whole trace
    assert sure > 6 * sum(doubts.values()), doubts


class Watched:
    """Guests that declare what they watch, as workloads do, so that little is checked twice."""

    declared: ClassVar = f"0 MARK id=RANGE a=0 b={VA:#x} c=0x8000"

    def teardown(self) -> None:
        lines: list[str] = getattr(self, "lines", [])
        if not lines:
            return
        array = parse("\n".join([lines[0], self.declared, *lines[1:]]))
        trace = Written(self.arch, array)  # type: ignore[attr-defined]
        for policy in POLICIES:
            expected = check(trace, policy)
            for size, foresight in ((5, False), (64, True)):
                _, report = live(trace, policy, size, foresight=foresight)
                same(report, expected)


class LiveX86(Watched, X86Guest):
    """x86-64."""


class LiveArm64(Watched, Arm64Guest):
    """arm64."""


SETTINGS = settings(
    max_examples=10,
    stateful_step_count=60,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestLiveX86 = LiveX86.TestCase
TestLiveX86.settings = SETTINGS
TestLiveArm64 = LiveArm64.TestCase
TestLiveArm64.settings = SETTINGS
