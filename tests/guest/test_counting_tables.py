"""Page-table locks, frames, tables and walks are counted as the kernel's source says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from shootdown.kernel.debian import DEFAULT
from shootdown.model import pages, ptl, walkers
from shootdown.model.counting import tables
from shootdown.model.pagetables import PAGE_SIZE
from shootdown.rules.check import check
from shootdown.trace.functions import Function
from shootdown.trace.schema import Kind, Use, Watch
from shootdown.trace.types import Events

from .conftest import Record, Recording
from .edited import Edited

pytestmark = pytest.mark.guest

ITERATIONS = 3
EVENTS = "ptl,pages,walkers"
KERNELS = (DEFAULT, "debian:6.1", "debian:7.2")


def guests(*threads: str) -> list[object]:
    """The default kernel, and as slow tests the others and the other way to run vCPUs."""
    return [
        pytest.param(
            (arch, thread, kernel),
            id=f"{arch}-{thread}-{kernel.removeprefix('debian:')}",
            marks=[pytest.mark.slow] if kernel != DEFAULT or thread != "multi" else [],
        )
        for kernel in KERNELS
        for arch in ("x86_64", "arm64")
        for thread in threads
    ]


@dataclass
class Counted:
    recording: Recording

    @cached_property
    def phases(self) -> list[tables.Phase]:
        return self.count(self.recording.events)

    def count(self, events: Events) -> list[tables.Phase]:
        found = tables.phases(Edited(self.recording.arch.name, events))
        return [phase for phase in found if phase.iteration]


def counting(recording: Record, **guest: Any) -> Counted:
    """What the workload did in a guest, given by the fields of ``Experiment``."""
    return Counted(
        recording(workloads="counting_tables", iterations=ITERATIONS, events=EVENTS, **guest)
    )


@pytest.fixture(scope="session", params=guests("multi", "single"))
def counted(request: pytest.FixtureRequest, recording: Record) -> Counted:
    arch, thread, kernel = request.param
    return counting(recording, arch=arch, thread=thread, kernel=kernel)


def test_nothing_was_lost(counted: Counted) -> None:
    assert counted.recording.trace.complete
    assert counted.recording.trace.lost == 0
    assert counted.recording.audit["mismatches"] == 0


def test_every_phase_is_in_the_trace(counted: Counted) -> None:
    assert [phase.name for phase in counted.phases] == list(tables.DERIVED) * ITERATIONS


def test_trace_and_source_agree(counted: Counted) -> None:
    found = [line for phase in counted.phases for line in tables.differences(phase)]
    assert found == []


@pytest.mark.parametrize("name", ["drop", "unmap"])
def test_the_page_map_knows_the_frames_that_were_freed(counted: Counted, name: str) -> None:
    stats = counted.recording.stats
    last = next(phase for phase in reversed(counted.phases) if phase.name == name)
    assert int(stats[f"{name}.present_before"]) == tables.PAGES
    assert last.account.pfn_sum == int(stats[f"{name}.pfn_sum"])


def test_the_process_counts_its_tables(counted: Counted) -> None:
    """VmPTE: the tables that the phases linked and gave back, and no others."""
    stats = counted.recording.stats
    for name in tables.DERIVED:
        grown = int(stats[f"{name}.table_bytes_after"]) - int(stats[f"{name}.table_bytes_before"])
        due = tables.DERIVED[name]
        assert grown == 4096 * (due.linked - due.returned), name


def test_no_lock_word_is_broken(counted: Counted) -> None:
    assert ptl.read(counted.recording.events).breaks == 0


def test_all_stores_of_the_run_are_under_their_lock(counted: Counted) -> None:
    recording = counted.recording
    rule = check(Edited(recording.arch.name, recording.events)).rules["pte-write-unlocked"]
    assert rule.armed
    assert rule.exercised > 1000
    assert [violation.summary for violation in rule.found] == []


def test_no_frame_is_mapped_while_it_is_free(counted: Counted) -> None:
    events = counted.recording.events
    lives = pages.read(events)
    assert pages.mapped_while_free(events, lives, counted.recording.arch.mmu) == []


def test_every_allocation_follows_a_free(counted: Counted) -> None:
    """Over the whole run; one free of a frame that was allocated again less is noticed."""
    events, mmu = counted.recording.events, counted.recording.arch.mmu
    assert pages.unpaired(events, mmu) == []
    lives = pages.read(events)
    since: dict[int, int] = {}
    for pa, seq in zip(*(column.tolist() for column in pages.mapped(events, mmu)), strict=True):
        since.setdefault(pa, seq)
    used = [since.get(life["pa"], pages.NEVER) < life["freed"] for life in lives]
    again = lives["freed"][(lives["frames"] == 1) & (lives["allocated"] != pages.NEVER) & used]
    alone = events[events["kind"] == Kind.PAGE_ALLOCATED]
    single = np.isin(lives["allocated"], alone["seq"][alone["b"] == 1])
    chosen = np.intersect1d(again, lives["freed"][single])
    assert len(chosen) > 100
    for seq in chosen[:: len(chosen) // 10].tolist():
        assert pages.unpaired(events[events["seq"] != seq], mmu)


def test_no_table_is_freed_under_a_walk(counted: Counted) -> None:
    events = counted.recording.events
    freed = walkers.frees(events)
    assert len(freed) >= tables.TABLES * ITERATIONS
    assert walkers.walked_while_freed(walkers.walks(events), freed) == []


Mask = npt.NDArray[np.bool_]


def locks(value: int) -> Callable[[Events], Mask]:
    def mask(events: Events) -> Mask:
        mine = (events["kind"] == Kind.WATCH) & (events["id"] == Watch.PTL)
        found: Mask = mine & (events["c"] == value)
        return found

    return mask


def frames(kind: Kind, use: Use) -> Callable[[Events], Mask]:
    def mask(events: Events) -> Mask:
        found: Mask = (events["kind"] == kind) & (events["c"] == use)
        return found

    return mask


def calls(kind: Kind) -> Callable[[Events], Mask]:
    def mask(events: Events) -> Mask:
        found: Mask = (events["kind"] == kind) & (events["id"] == Function["gup_fast"])
        return found

    return mask


def tables_of(events: Events, vas: range) -> set[int]:
    """PAs of the last-level tables of some addresses."""
    stores = events[(events["kind"] == Kind.PTE_WRITE) & (events["level"] == 1)]
    mine = stores[(stores["d"] >= np.uint64(vas.start)) & (stores["d"] < np.uint64(vas.stop))]
    return {slot & -PAGE_SIZE for slot in mine["a"].tolist()}


LESS = {
    "acquisition": ("drop", locks(1)),
    "release": ("drop", locks(0)),
    "free": ("unmap", frames(Kind.PAGE_FREED, Use.LEAF)),
    "allocation": ("refill", frames(Kind.PAGE_ALLOCATED, Use.LEAF)),
    "walk": ("walk", calls(Kind.ENTER)),
}


@pytest.mark.parametrize("what", LESS)
def test_one_event_less_is_noticed(counted: Counted, what: str) -> None:
    """Every single event of a kind that belongs to a phase is taken out of the trace, in turn."""
    name, kind = LESS[what]
    events = counted.recording.events
    reader = tables.Reader(events, counted.recording.arch.mmu)
    window = [window for window in reader.windows() if window.name == name][-1]
    inside = (events["seq"] > window.begin) & (events["seq"] < window.end)
    mine = reader.running.tasks(events["cpu"], events["seq"]) == window.task
    # The thread's stack and data have tables of their own, whose locks no phase counts.
    other = (events["kind"] == Kind.WATCH) & ~np.isin(
        events["d"], list(tables_of(events, reader.pages))
    )
    places = np.flatnonzero(inside & mine & kind(events) & ~other)
    assert len(places) > 0
    for place in (places[0], places[-1]):
        found = counted.count(np.delete(events, place))
        assert [line for phase in found for line in tables.differences(phase)], place


def test_one_table_less_is_noticed(counted: Counted) -> None:
    """Of the tables that came back, at whatever time."""
    events = counted.recording.events
    reader = tables.Reader(events, counted.recording.arch.mmu)
    window = [window for window in reader.windows() if window.name == "untables"][-1]
    gone = (reader.frees["unlinked"] > window.begin) & (reader.frees["unlinked"] < window.end)
    (first, *_) = reader.frees["freed"][gone]
    found = counted.count(events[events["seq"] != first])
    assert [line for phase in found for line in tables.differences(phase)]


@pytest.fixture(scope="session", params=guests("multi"))
def churned(request: pytest.FixtureRequest, recording: Record) -> Recording:
    arch, thread, kernel = request.param
    return recording(
        arch=arch,
        thread=thread,
        kernel=kernel,
        workloads="churn",
        iterations=10,
        smp=3,
        mem=512,
        events=EVENTS,
    )


@pytest.mark.slow
def test_churn_keeps_to_the_locks_and_the_allocator(churned: Recording) -> None:
    """Huge pages, forks, moves, memory given back under several threads: nothing breaks a rule."""
    events, mmu = churned.events, churned.arch.mmu
    report = check(Edited(churned.arch.name, events))
    rule = report.rules["pte-write-unlocked"]
    assert (rule.armed, [violation.summary for violation in rule.found]) == (True, [])
    assert report.coverage["ptl:broken"] == 0
    lives = pages.read(events)
    assert lives["frames"].max() == 512
    assert pages.unpaired(events, mmu) == []
    assert pages.mapped_while_free(events, lives, mmu) == []
    assert walkers.walked_while_freed(walkers.walks(events), walkers.frees(events)) == []
