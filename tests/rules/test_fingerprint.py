"""A fingerprint is made of the defect alone: of no CPU, address, number or count of the run."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest

from shootdown.rules.check import check
from shootdown.trace.columns import any_of
from shootdown.trace.schema import Kind, Watch
from shootdown.trace.types import Events
from tests.rules.corpus import Case, TextTrace, cases

OF_CPUS = (Watch.IS_LAZY, Watch.LOADED_MM, Watch.CPU_TLB_GEN)
"""Words of each CPU: ``d`` of their events is its number."""
BAD = [case for case in cases() if case.expected]


@dataclass(frozen=True)
class Renumbered:
    """A trace whose CPUs go by the next number, the last one by 0."""

    arch: str
    text: str

    def events(self) -> Events:
        events = TextTrace(self.arch, self.text).events()
        count = int(events["cpu"].max()) + 1
        watches = any_of(events["kind"], (Kind.WATCH, Kind.WATCH_INIT))
        named = np.flatnonzero(watches & any_of(events["id"], OF_CPUS))
        events["d"][named] = (events["d"][named] + np.uint64(1)) % np.uint64(count)
        events["cpu"] = (events["cpu"] + 1) % count
        return events


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.name)
def test_other_cpus_same_fingerprints(case: Case):
    trace = Renumbered(case.header("arch"), case.path.read_text())
    other = check(trace, case.header("policy", "wilcox"))
    marks = [Counter(v.fingerprint for v in report.violations) for report in (case.run(), other)]
    assert marks[0] == marks[1]
    assert marks[0]


def marks_of(arch: str, text: str) -> list[str]:
    return [violation.fingerprint for violation in check(TextTrace(arch, text)).violations]


UNLOCKED = """
0 WATCH_INIT id=PTL a=0x4c028 d=0x13000 size=1
0 ENTER id={} a={:#x}
0 PTE_WRITE a={:#x} b={:#x} c=0 d={:#x} level=1
"""


def test_writers_without_lock_are_told_apart_by_what_stores():
    first, *others = (
        marks_of("x86_64", UNLOCKED.format(name, sp, 0x13000 + 8 * n, 0x50067 + (n << 12), va))
        for name, sp, n, va in (
            ("do_wp_page", 0xFFFFC90000003000, 0, 0x400000),
            ("do_wp_page", 0xFFFFC90000007000, 1, 0x401000),
            ("try_to_unmap_one", 0xFFFFC90000003000, 0, 0x400000),
        )
    )
    assert len(first) == 1
    assert [first == other for other in others] == [True, False]


def test_changes_in_place_are_told_apart_by_what_changed():
    text = "0 PTE_WRITE a=0x13000 b=0x50f43 c={:#x} d=0x400000 level=1"
    marks = [marks_of("arm64", text.format(new)) for new in (0x50F4F, 0x50C43, 0x51F43)]
    assert [len(mark) for mark in marks] == [1, 1, 1]
    assert len({*marks[0], *marks[1], *marks[2]}) == 3
