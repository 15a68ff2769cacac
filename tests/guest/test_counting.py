"""The recorder counts what the kernel does: trace == source == the kernel's own witnesses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from shootdown.kernel.debian import DEFAULT
from shootdown.model.counting import derived, probe, traced, witness
from shootdown.model.counting.derived import Derivation
from shootdown.model.counting.traced import FLUSHES, Phase
from shootdown.model.tasks import text
from shootdown.trace.schema import BarrierOp, FlushOp, Kind, Mark, RootReg, Watch
from shootdown.trace.types import Events

from .conftest import Record, Recording
from .edited import Edited

pytestmark = pytest.mark.guest

ITERATIONS = 3
KERNELS = (DEFAULT, "debian:6.1", "debian:7.2")
GUESTS = [
    pytest.param(
        (arch, thread, kernel, "off"),
        id=f"{arch}-{thread}-{kernel.removeprefix('debian:')}",
        marks=[pytest.mark.slow] if kernel != KERNELS[0] else [],
    )
    for kernel in KERNELS
    for arch in ("x86_64", "arm64")
    for thread in ("multi", "single")
] + [
    pytest.param((arch, "multi", DEFAULT, "auto"), id=f"{arch}-snapshot")
    for arch in ("x86_64", "arm64")
]

# The tracepoint is defined for all (mm/rmap.c); only arch/x86/mm/tlb.c calls it.
UNWITNESSED = {"arm64": ("tlb_flush_events", "tlb_flush_pages", "tlb_flush_full")}


@dataclass
class Counted:
    recording: Recording
    phases: list[Phase]
    derivation: Derivation

    @property
    def last(self) -> list[Phase]:
        """Of the iteration that the witnesses report of."""
        return [phase for phase in self.phases if phase.iteration == ITERATIONS]


def count(recording: Recording, events: Events) -> list[Phase]:
    """The phases of all iterations but the first, which warms up."""
    found = traced.phases(Edited(recording.arch.name, events))
    return [phase for phase in found if phase.iteration]


def counting(recording: Record, **guest: Any) -> Counted:
    """What the workload did in a guest, given by the fields of ``Experiment``."""
    made = recording(workloads="counting", iterations=ITERATIONS, **guest)
    traits = probe.probe(made.kernel, made.events)
    phases = count(made, made.events)
    return Counted(made, phases, Derivation(traits, FLUSHES[made.arch.name]))


@pytest.fixture(scope="session", params=GUESTS)
def counted(request: pytest.FixtureRequest, recording: Record) -> Counted:
    arch, thread, kernel, start = request.param
    return counting(recording, arch=arch, thread=thread, kernel=kernel, snapshot=start)


def test_nothing_was_lost(counted: Counted) -> None:
    assert counted.recording.trace.complete
    assert counted.recording.trace.lost == 0
    assert counted.recording.audit["mismatches"] == 0


def test_every_phase_is_in_the_trace(counted: Counted) -> None:
    assert [phase.name for phase in counted.phases] == list(derived.NAMES) * ITERATIONS


def test_trace_and_source_agree(counted: Counted) -> None:
    found = [
        f"iteration {phase.iteration}, {difference}"
        for phase in counted.phases
        for difference in witness.differences(
            phase.name, phase.figures, counted.derivation.phase(phase)
        )
    ]
    assert found == []


@pytest.mark.parametrize("name", witness.WITNESSES)
def test_witness_and_source_agree(counted: Counted, name: str) -> None:
    recording = counted.recording
    if name in UNWITNESSED.get(recording.arch.name, ()):
        assert all(name in witness.missing(phase, recording.stats) for phase in derived.NAMES)
        pytest.skip(f"nothing on {recording.arch.name} calls the tracepoint tlb_flush: no {name}")
    right = {
        phase.name: witness.WITNESSES[name](counted.derivation.phase(phase))
        for phase in counted.last
    }
    assert {phase: int(recording.stats[f"{phase}.{name}"]) for phase in right} == right


def test_witnesses_saw_every_iteration_alike(counted: Counted) -> None:
    assert counted.recording.stats["unstable"] == "0"
    assert counted.recording.stats["iterations"] == str(ITERATIONS)


Mask = npt.NDArray[np.bool_]


def stores(events: Events) -> Mask:
    """To user slots that map pages."""
    user = events["d"] >> 63 == 0
    mask: Mask = (events["kind"] == Kind.PTE_WRITE) & (events["level"] == 1) & user
    return mask


def flushes(events: Events) -> Mask:
    """Of a range, or loads of CR3 that change nothing."""
    tlbi = (events["kind"] == Kind.FLUSH) & (events["id"] == FlushOp.TLBI_RANGE)
    cr3 = (events["kind"] == Kind.ROOT_LOAD) & (events["id"] == RootReg.CR3)
    mask: Mask = tlbi | cr3 & (events["a"] == events["d"])
    return mask


def locks(events: Events) -> Mask:
    """Releases by a writer."""
    mine = (events["kind"] == Kind.WATCH) & (events["id"] == Watch.MMAP_LOCK)
    mask: Mask = mine & (events["b"] == 1) & (events["c"] == 0)
    return mask


def barriers(events: Events) -> Mask:
    """The DSB ISH that completes a flush: a switch of tasks executes others (__switch_to())."""
    dsb = (events["kind"] == Kind.BARRIER) & (events["id"] == BarrierOp.DSB)
    mask: Mask = dsb & (events["a"] == 0xB)
    for cpu in np.unique(events["cpu"]):
        mine = np.flatnonzero((events["cpu"] == cpu) & (mask | flushes(events)))
        behind = flushes(events[mine])
        mask[mine[1:]] &= behind[:-1]
        mask[mine[:1]] = False
    return mask


@pytest.mark.parametrize("kind", [stores, flushes, locks, barriers])
def test_one_event_less_is_noticed(counted: Counted, kind: Callable[[Events], Mask]) -> None:
    """The first event of a kind that belongs to a phase is taken out of the trace."""
    recording, events = counted.recording, counted.recording.events
    if kind is barriers and recording.arch.name != "arm64":
        pytest.skip(f"{recording.arch.name} has no barriers that matter to flushes")
    first, end, cpu = window(events, "mprotect_ro")
    inside = (events["seq"] > first) & (events["seq"] < end) & (events["cpu"] == cpu)
    places = np.flatnonzero(inside & kind(events))
    found = count(recording, np.delete(events, places[0]))
    differ = [
        phase.name
        for phase in found
        if list(witness.differences(phase.name, phase.figures, counted.derivation.phase(phase)))
    ]
    # A lost store leaves its mark on later phases too.
    assert differ[:1] == ["mprotect_ro"]
    assert kind is stores or len(differ) == 1


def window(events: Events, phase: str) -> tuple[int, int, int]:
    """First and last number of a phase of the last iteration, and the CPU it ran on."""
    marks = [
        mark
        for mark in events[events["kind"] == Kind.MARK]
        if mark["id"] in (Mark.BEGIN, Mark.END) and text(int(mark["a"]), int(mark["b"])) == phase
    ]
    begin, end = marks[-2:]
    assert begin["cpu"] == end["cpu"]
    return int(begin["seq"]), int(end["seq"]), int(end["cpu"])
