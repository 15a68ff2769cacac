"""Event groups count what the kernel does: trace == source == the kernel's own witnesses."""

from __future__ import annotations

import functools
import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import shootdown
from shootdown.kernel.debian import DEFAULT
from shootdown.model.counting import events as counting
from shootdown.model.counting.events import Phase
from shootdown.model.counting.events_derived import Derivation, Situation
from shootdown.model.known import Known, known
from shootdown.model.running import Running
from shootdown.trace.functions import NAMES
from shootdown.trace.schema import Kind, Watch
from shootdown.trace.types import Events

from .conftest import Record, Recording

pytestmark = pytest.mark.guest

ITERATIONS = 2
KERNELS = (DEFAULT, "debian:7.2")
GUESTS = [
    pytest.param(
        (arch, kernel),
        id=f"{arch}-{kernel.removeprefix('debian:')}",
        marks=[pytest.mark.slow] if kernel != KERNELS[0] else [],
    )
    for kernel in KERNELS
    for arch in ("x86_64", "arm64")
]
VMA_PHASES = ("map", "expand", "split", "join", "hole", "move", "unmap", "clear")
FAULT_PHASES = ("write", "read", "cow", "shared", "kernel", "refused")
GUP_PHASES = ("remote", "absent", "splice", "peek", "fix", "unfix")
PHASES = (
    "vma_fork",
    *(f"vma_{name}" for name in VMA_PHASES),
    *(f"fault_{name}" for name in FAULT_PHASES),
    *(f"gup_{name}" for name in GUP_PHASES),
)
STRAYS = (*counting.UNCOUNTED, "fault", "attempt", "lock read", "lock_vma", "lock_mm", "mem_abort")
"""In a fork, how the child runs decides which shared pages the thread copies."""
UNSEEN = {
    "vm_area_dup": lambda phase, _: phase == "vma_fork",
    "try_grab_folio": lambda _, name: "try_grab_folio" in name or name.startswith("pin "),
    "unpin_user_pages": lambda _, name: "unpin_user_pages" in name,
}
"""What of a phase is not told where the compiler has put a function into its caller, as the
recording says it has (kernel/inlined.py)."""


@dataclass
class Counted:
    recording: Recording
    known: Known
    derivation: Derivation

    @functools.cached_property
    def inlined(self) -> list[str]:
        """Functions that the recording says it has not seen all calls of."""
        return [name for name in UNSEEN if f"{name} inside" in " ".join(self.known.absent)]

    @functools.cached_property
    def phases(self) -> list[Phase]:
        return self.count(self.recording.events)

    def count(self, events: Events) -> list[Phase]:
        """The phases of all iterations but the first, which warms up."""
        found = counting.phases(events, self.known)
        return [phase for phase in found if phase.iteration and phase.name in PHASES]

    def differences(self, phase: Phase) -> dict[str, tuple[int, int]]:
        """Where the trace and the source differ: both counts by name."""
        found, right = phase.counts, self.derivation.phase(phase.name)
        names = {*found, *right}
        if phase.name == "vma_fork":
            names = {name for name in names if not any(stray in name for stray in STRAYS)}
        for unseen in map(UNSEEN.__getitem__, self.inlined):
            names = {name for name in names if not unseen(phase.name, name)}
        return {n: (found[n], right[n]) for n in sorted(names) if found[n] != right[n]}


def counts(recording: Record, **guest: Any) -> Counted:
    """What the workload did in a guest, given by the fields of ``Experiment``."""
    made = recording(
        workloads="counting_events",
        iterations=ITERATIONS,
        events="vmas,vma_locks,faults,gup",
        **guest,
    )
    command: dict[str, Any] = json.loads(made.run.command.read_text())
    clears = "untrack_pfn_clear" in made.kernel.symbols
    situation = Situation(
        vmas=int(made.stats["vma_fork.vmas_before"]),
        soft_dirty=int(made.stats["vma_map.softdirty"]) > 0,
        cleared=clears * int(made.stats["vma_fork.pfnmap"]),
    )
    told = known(command)
    return Counted(made, told, Derivation(told, situation))


@pytest.fixture(scope="session", params=GUESTS)
def counted(request: pytest.FixtureRequest, recording: Record) -> Counted:
    arch, kernel = request.param
    return counts(recording, arch=arch, kernel=kernel)


def test_nothing_was_lost(counted: Counted) -> None:
    recording = counted.recording
    assert recording.trace.complete
    assert recording.trace.lost == 0
    assert recording.audit["mismatches"] == 0
    assert counting.unpaired(recording.events, counted.known) == 0
    assert counted.known.recorded == {"vmas", "vma_locks", "faults", "gup"}


def test_every_phase_is_in_the_trace(counted: Counted) -> None:
    assert [phase.name for phase in counted.phases] == list(PHASES) * ITERATIONS


def test_trace_and_source_agree(counted: Counted) -> None:
    differ = {(p.name, p.iteration): counted.differences(p) for p in counted.phases}
    assert {where: what for where, what in differ.items() if what} == {}


def test_witnesses_and_source_agree(counted: Counted) -> None:
    stats = counted.recording.stats
    for name in PHASES:
        right = counted.derivation.phase(name)
        born, died = right["vma alloc"] + right["vma dup"], right["vma free"]
        faults = sum(times for what, times in right.items() if what.startswith("attempt"))
        seen = {key: int(stats[f"{name}.{key}"]) for key in ("pinned", "unpinned", "faults")}
        more = int(stats[f"{name}.vmas_after"]) - int(stats[f"{name}.vmas_before"])
        assert (seen["pinned"], seen["unpinned"]) == (right["pin pin"], right["pin unpin"]), name
        if name != "vma_fork":  # the child's are not seen here, and there are strays
            assert (seen["faults"], more) == (faults, born - died), name


def test_every_child_of_a_fork_gives_its_vmas_back(counted: Counted) -> None:
    if "vm_area_dup" in counted.inlined:
        pytest.skip("the births of a fork are not told of this kernel, and the recording says so")
    vmas = shootdown.Trace(counted.recording.run.path).vmas
    for phase in (p for p in counted.phases if p.name == "vma_fork"):
        inside = vmas[(vmas["seq"] > phase.first) & (vmas["seq"] < phase.end)]
        born = inside[inside["event"] == "dup"]
        died = inside[inside["event"] == "free"]
        assert len(born) == int(counted.recording.stats["vma_fork.vmas_before"])
        lives = ["base", "generation"]
        assert set(map(tuple, born[lives].to_numpy())) == set(map(tuple, died[lives].to_numpy()))


def _in_phase(counted: Counted, phase: Phase) -> Events:
    """The records of the groups that the phase's task made, all of which are counted."""
    events = counted.recording.events
    events = events[(events["seq"] > phase.first) & (events["seq"] < phase.end)]
    return events[Running(counted.recording.events).of(events) == phase.task]


def _label(event: Any) -> str:
    """What a record is, to take one of each out; empty when it is not one of the groups'."""
    kind, id = int(event["kind"]), int(event["id"])
    if kind in (Kind.ENTER, Kind.EXIT):
        return f"{Kind(kind).name} {NAMES[id]}"
    if kind in (Kind.WATCH, Kind.WATCH_INIT) and id >= Watch.MM_LOCK_SEQ:
        return f"{Kind(kind).name} {Watch(id).name}"
    return ""


@pytest.mark.parametrize("name", ["vma_map", "vma_hole", "fault_shared", "gup_remote", "gup_fix"])
def test_one_event_less_is_noticed(counted: Counted, name: str) -> None:
    """The first record of each kind that belongs to the phase is taken out of the trace."""
    phase = [phase for phase in counted.phases if phase.name == name][-1]
    recorded = counted.recording.events
    first: dict[str, int] = {}
    for event in _in_phase(counted, phase):
        first.setdefault(_label(event), int(event["seq"]))
    first.pop("", None)
    assert len(first) >= 6
    unnoticed = []
    for label, seq in first.items():
        less = recorded[recorded["seq"] != np.uint64(seq)]
        (again,) = [p for p in counted.count(less) if (p.first, p.name) == (phase.first, name)]
        broken = counting.unpaired(less, counted.known)
        if not counted.differences(again) and not broken:
            unnoticed.append(label)
    assert unnoticed == []


def test_frames_tell_the_same(counted: Counted) -> None:
    trace = shootdown.Trace(counted.recording.run.path)
    by_name = {phase.name: phase for phase in counted.phases}

    def rows(table: str, phase: str) -> Any:
        frame, where = getattr(trace, table), by_name[phase]
        inside = (frame["seq"] > where.first) & (frame["seq"] < where.end)
        return frame[inside & (frame["task"] == np.uint64(where.task))]

    faults = rows("faults", "fault_write")
    assert set(faults["outcome"]) == {"handled"}
    assert set(faults["locks"]) == {"vma"}
    assert rows("faults", "fault_refused")["outcome"].tolist() == ["refused"]
    attempts = rows("fault_attempts", "gup_absent")
    assert attempts["fault"].tolist() == [0, 0]
    assert all("WRITE|" in flags and "REMOTE" in flags for flags in attempts["flags"])
    (call,) = rows("gup", "gup_fix").to_dict("records")
    assert (call["by"], call["result"]) == ("pin_user_pages_fast", 8)
    assert {"WRITE", "LONGTERM", "PIN"} <= set(call["flags"].split("|"))
    fixed, freed = rows("pins", "gup_fix"), rows("pins", "gup_unfix")
    assert Counter(fixed["folio"]) == Counter(freed["folio"])
    assert set(fixed["pins"]) == {1}
    assert set(freed["pins"]) == {0}
