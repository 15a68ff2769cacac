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
