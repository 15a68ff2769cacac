"""Points in real kernels."""

from __future__ import annotations

import pytest

from shootdown.errors import UsageError
from shootdown.kernel import scan
from shootdown.kernel.facts import KernelFacts
from shootdown.race import Hold, Pause, Plan, Point
from shootdown.race.resolve import Traps, needs_survey, places, resolve
from shootdown.race.spec import Spec
from shootdown.race.stage import SPECS
from shootdown.race.survey import Site, Survey

SURVEY = Survey(
    (
        Site(0x1000, "pte_write", "writable", "none", "munmap", "mapper"),
        Site(0x2000, "pte_write", "none", "readonly", "", "observer0"),
        Site(0x3000, "load", thread="observer0"),
    )
)


@pytest.fixture
def spec(learned: KernelFacts) -> Spec:
    return SPECS[learned.arch]


def found(point: Point, facts: KernelFacts) -> Traps:
    return resolve(point, facts, SPECS[facts.arch], SURVEY)


def test_functions_and_system_calls(learned: KernelFacts, spec: Spec) -> None:
    traps = found(Point(event="enter", function="tlb_finish_mmu", within="munmap"), learned)
    assert traps.vas == {learned.va("tlb_finish_mmu")}
    assert traps.gates == {learned.va(spec.syscall + "munmap")}
    assert places(traps, learned) == ["tlb_finish_mmu"]
    fork = found(Point(event="return", function="fork"), learned)
    assert not fork.vas
    assert learned.va(spec.syscall + "clone") in fork.gates
    assert all(learned.symbols.at(va)[1] == 0 for va in fork.gates)


def test_several_names(learned: KernelFacts, spec: Spec) -> None:
    names = "tlb_finish_mmu|no_such_function|munmap"
    traps = found(Point(event="enter", function=names, within="no_such_function|mmap"), learned)
    assert traps.vas == {learned.va("tlb_finish_mmu"), learned.va(spec.syscall + "munmap")}
    assert traps.gates == {learned.va(spec.syscall + "mmap")}
    inside = Point(event="call", function="no_such_function|tlb_finish_mmu", inside="x|exit_mmap")
    assert found(inside, learned).vas


def test_calls(learned: KernelFacts) -> None:
    sites = scan.callers(learned, "tlb_finish_mmu")
    before = Point(event="call", function="tlb_finish_mmu", inside=sites[0].function)
    assert sites[0].va in found(before, learned).vas
    after = Point(event="call", function="tlb_finish_mmu", inside=sites[0].function, when="after")
    (call,) = scan.disassemble(learned, sites[0].va, 1)
    assert sites[0].va + len(call.data) in found(after, learned).vas


def test_what_a_recording_showed(learned: KernelFacts) -> None:
    clear = Point(event="pte_write", old="present", new="none")
    assert found(clear, learned).vas == {0x1000}
    assert found(Point(event="pte_write"), learned).vas == {0x1000, 0x2000}
    assert found(Point(event="load", of="window"), learned).vas == {0x3000}


@pytest.mark.parametrize(
    ("point", "says"),
    [
        (Point(event="enter", function="tlb_finish_mm"), "did you mean tlb_finish_mmu"),
        (Point(event="enter", function="mumap", within="munmap"), "did you mean munmap"),
        (Point(event="flush", within="madvize"), "did you mean madvise"),
        (
            Point(event="call", function="tlb_finish_mmu", inside="schedule"),
            "no call of tlb_finish_mmu in schedule; it is called by .*exit_mmap",
        ),
        (
            Point(event="pte_write", old="readonly", new="writable"),
            "no instruction was seen.*shows none -> readonly, writable -> none",
        ),
        (Point(event="store", of="window"), "no instruction was seen.*shows none at all"),
        (Point(event="enter", function="zzzzzzzz"), "no function zzzzzzzz; it may be inlined"),
        (Point(event="enter", function="zzzz|zzz"), "has none of zzzz|zzz"),
    ],
)
def test_points_that_are_not_there(learned: KernelFacts, point: Point, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        found(point, learned)


def test_only_some_plans_need_a_recording() -> None:
    enter = Hold(Point(event="enter", function="f"), (Pause(1),))
    assert not needs_survey(Plan(name="x", workload="munmap", holds=(enter,)))
    flush = Hold(Point(event="enter", function="f"), (Point(event="flush"),))
    assert needs_survey(Plan(name="x", workload="munmap", holds=(flush,)))
