"""Event groups on real kernels: what they count is what the kernel counts."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from shootdown import Trace
from shootdown.frames.recording import ALL
from shootdown.model import shootdowns, waits
from shootdown.model.calls import calls
from shootdown.model.callstack import Timeline
from shootdown.model.locks import Move, transitions
from shootdown.trace.columns import any_of
from shootdown.trace.functions import Function
from shootdown.trace.schema import Kind, Mark, Probe, RootReg, Watch
from shootdown.trace.types import Events

from .conftest import Record, Recording
from .test_counting import window

pytestmark = pytest.mark.guest

CALLS = (Kind.PROBE, Kind.PROBE_MORE, Kind.RET_USER)
DROPS = 100
RT_SIGRETURN = ("15", "139", "rt_sigreturn")
"""On x86-64, on arm64, and where the number is known."""
KERNELS = ("debian:6.12", "debian:7.2")
GUESTS = [
    pytest.param(
        (arch, kernel),
        id=f"{arch}-{kernel.removeprefix('debian:')}",
        marks=[pytest.mark.slow] if kernel != KERNELS[0] else [],
    )
    for kernel in KERNELS
    for arch in ("x86_64", "arm64")
]
STEPS = {
    "mmap": "do_mmap",
    "mprotect_ro": "do_mprotect_pkey",
    "mprotect_rw": "do_mprotect_pkey",
    "map_fixed": "do_mmap",
    "dontneed": "do_madvise",
    "fork": "copy_process",
    "mremap": "move_page_tables",
    "munmap": "__vm_munmap",
}
"""Of the workload counting: a function that the phase's one system call enters exactly once."""


@pytest.fixture(scope="session", params=GUESTS)
def drops(request: pytest.FixtureRequest, recording: Record) -> Recording:
    arch, kernel = request.param
    return recording(arch=arch, kernel=kernel, workloads="ipis", iterations=DROPS, events="all")


@pytest.fixture(scope="session", params=GUESTS)
def counting(request: pytest.FixtureRequest, recording: Record) -> Recording:
    arch, kernel = request.param
    return recording(
        arch=arch, kernel=kernel, workloads="counting", iterations=2, events="functions,lock_waits"
    )


@pytest.fixture(scope="session", params=["x86_64", "arm64"])
def contended(request: pytest.FixtureRequest, recording: Record) -> Recording:
    """A 6.1: every fault takes mmap_lock."""
    return recording(
        arch=request.param,
        kernel="debian:6.1",
        workloads="munmap",
        iterations=60,
        smp=3,
        test_delay_us=300,
        events="lock_waits",
    )


def between(events: Events, begin: int, end: int) -> Events:
    mine: Events = events[(events["seq"] > begin) & (events["seq"] < end)]
    return mine


def of_drops(recording: Recording) -> Events:
    """The events while the page is dropped again and again."""
    marks = recording.events[recording.events["kind"] == Kind.MARK]
    # The agent's own marks are around those of the workload.
    begin = marks["seq"][marks["id"] == Mark.BEGIN].max()
    end = marks["seq"][marks["id"] == Mark.END].min()
    return between(recording.events, begin, end)


def test_every_table_is_filled(drops: Recording) -> None:
    """By a guest that does something of everything; columns are of the types documented."""
    trace = Trace(drops.run.path)
    lacking = {"x86_64": {"asids", "barriers"}, "arm64": {"flush_requests", "shootdowns"}}
    rare = {"lock_waits", "gup", "pins", "walkers"}  # needs contention, or somebody who asks
    rare |= {"observations", "delays"}  # no range was declared, no delay asked for
    for name, table in ALL.items():
        frame = getattr(trace, name)
        if name not in lacking[drops.arch.name] | rare:
            assert len(frame), name
        columns = {column: dtype.name for column, dtype in frame.dtypes.items()}
        assert columns == {column.name: column.dtype for column in table.columns}


# The group `functions`.


def test_every_call_ends(drops: Recording) -> None:
    """But for those under way when recording began or ended: one on each stack at most."""
    events = drops.events
    found = calls(events)
    assert len(found) > 1000
    open_ones = found[found["end_seq"] == 0]
    assert len(np.unique(open_ones["sp"] >> 14)) == len(open_ones) <= 8
    ends = int((events["kind"] == Kind.EXIT).sum())
    assert ends - int((found["end_seq"] > 0).sum()) <= 2


def test_each_system_call_is_one_operation(counting: Recording) -> None:
    events = counting.events
    made = calls(events)
    for phase, function in STEPS.items():
        first, end, cpu = window(events, phase)
        inside = (made["seq"] > first) & (made["seq"] < end) & (made["cpu"] == cpu)
        numbers = made["function"][inside & (made["function"] == Function[function])]
        assert len(numbers) == 1, phase


def test_writes_name_their_operation(counting: Recording) -> None:
    events = counting.events
    timeline = Timeline(events)
    for phase, function in STEPS.items():
        if phase == "mmap":
            continue  # writes nothing
        first, end, cpu = window(events, phase)
        mine = between(events, first, end)
        mine = mine[(mine["kind"] == Kind.PTE_WRITE) & (mine["cpu"] == cpu) & (mine["level"] == 1)]
        mine = mine[mine["d"] >> 63 == 0]
        assert len(mine)
        stacks = [timeline.stacks[n] for n in timeline.of(mine).tolist()]
        assert all(stacks), f"a write in {phase} belongs to nothing"
        assert sum(Function[function] in stack for stack in stacks) >= 16, phase


def test_one_call_less_is_noticed(counting: Recording) -> None:
    events = counting.events
    first, _, _ = window(events, "munmap")
    gone = (events["kind"] == Kind.ENTER) & (events["id"] == Function.__vm_munmap)
    place = np.flatnonzero(gone & (events["seq"] > first))[0]
    made = calls(np.delete(events, place))
    before = calls(events)
    assert len(made) == len(before) - 1


# The group `shootdowns` (x86).


def test_interrupts_are_those_the_kernel_counts(drops: Recording) -> None:
    if drops.arch.name != "x86_64":
        assert len(shootdowns.handlers(drops.events)) == 0
        assert "tlb_interrupts" not in drops.stats
        return
    ran = shootdowns.handlers(of_drops(drops))
    remote = int(ran["remote"].sum())
    assert remote == int(drops.stats["tlb_interrupts"])
    assert drops.stats["exercised"] == str(DROPS)
    # A reader that a kernel thread has pushed aside needs none (E3).
    assert 0.9 * DROPS <= remote <= DROPS + 5


def test_requests_wait_for_all_answers(drops: Recording) -> None:
    if drops.arch.name != "x86_64":
        pytest.skip("arm64 flushes by broadcast: there are no interrupts")
    asked, ran = (f(of_drops(drops)) for f in (shootdowns.requests, shootdowns.handlers))
    assert int(asked["interrupts"].sum()) == int((ran["remote"] & (ran["request"] > 0)).sum())
    ends = dict(zip(asked["seq"].tolist(), asked["end_seq"].tolist(), strict=True))
    mine = ran[ran["request"] > 0]
    assert len(mine) >= 2 * 0.9 * DROPS
    for seq, end, request in mine[["seq", "end_seq", "request"]].tolist():
        assert request < seq < end <= ends[request]


def test_generations_only_grow_and_are_reached(drops: Recording) -> None:
    if drops.arch.name != "x86_64":
        pytest.skip("arm64 has no generations of flushes")
    events = of_drops(drops)
    words = events[(events["kind"] == Kind.WATCH) & (events["id"] == Watch.MM_TLB_GEN)]
    assert len(words) >= DROPS
    assert (words["c"] == words["b"] + 1).all()
    ran = shootdowns.handlers(events)
    cpus = events[(events["kind"] == Kind.WATCH) & (events["id"] == Watch.CPU_TLB_GEN)]
    reached = set(cpus["c"].tolist())
    assert set(ran["generation"][ran["remote"]].tolist()) <= reached


def test_one_interrupt_less_is_noticed(drops: Recording) -> None:
    if drops.arch.name != "x86_64":
        pytest.skip("arm64 flushes by broadcast: there are no interrupts")
    events = of_drops(drops)
    ran = shootdowns.handlers(events)
    place = np.flatnonzero(events["seq"] == ran["seq"][ran["remote"]][0])
    less = shootdowns.handlers(np.delete(events, place))
    assert int(less["remote"].sum()) != int(drops.stats["tlb_interrupts"])


# The group `asid` (arm64).


def test_asids_are_those_in_the_registers(drops: Recording) -> None:
    """Each mm that ran has one ASID of one generation, and TTBR loads carry it."""
    events = drops.events
    kinds = np.isin(events["kind"], (Kind.WATCH, Kind.WATCH_INIT))
    given = events[kinds & (events["id"] == Watch.MM_CONTEXT_ID) & (events["c"] != 0)]
    if drops.arch.name != "arm64":
        assert len(given) == 0
        return
    assert len(given) >= 2
    assert len(np.unique(given["c"])) == len(given)  # no ASID is given twice in a generation
    fresh = calls(events, [Function.new_context])
    assert len(fresh) == len(given)
    loads = events[(events["kind"] == Kind.ROOT_LOAD) & (events["id"] == RootReg.TTBR1)]
    used = set((loads["c"][loads["c"] != 0] & ~np.uint64(1)).tolist())
    assert used and used <= set((given["c"] & np.uint64(0xFFFF)).tolist())


# The group `lock_waits`.


def test_calls_return_to_where_they_came_from(counting: Recording) -> None:
    """All but those that are meant to go somewhere else."""
    names = {number: name for name, number in counting.arch.kernel.syscalls.items()}
    entered: dict[int, tuple[str, int]] = {}
    elsewhere: Counter[str] = Counter()
    behind = 0
    for event in counting.events[any_of(counting.events["kind"], CALLS)]:
        kind, id, cpu = (int(event[name]) for name in ("kind", "id", "cpu"))
        if kind == Kind.RET_USER and cpu in entered:
            name, back = entered.pop(cpu)
            behind += back == int(event["b"])
            elsewhere[name] += back != int(event["b"])
        elif kind == Kind.PROBE and id == Probe.SYSCALL:
            entered[cpu] = names.get(int(event["a"]), str(event["a"])), 0
        elif kind == Kind.PROBE_MORE and id == Probe.SYSCALL:
            entered[cpu] = entered[cpu][0], int(event["d"])
        elif kind == Kind.PROBE and id == Probe.TASK_SWITCH:
            entered.pop(cpu, None)
    assert behind > 100
    assert {name for name, count in elsewhere.items() if count} <= {"execve", *RT_SIGRETURN}


def test_waits_are_those_the_lock_word_tells_of(contended: Recording) -> None:
    """Each reader that queues takes its tentative hold back, once."""
    events = contended.events
    found = waits.waits(events, contended.arch.kernel.syscalls)
    readers = {wait.seq for wait in found if not wait.write}
    moves = transitions(events).counts()
    assert len(readers) == moves[Move.BACK_OUT] > 10


def test_who_waits_for_whom(contended: Recording) -> None:
    found = waits.waits(contended.events, contended.arch.kernel.syscalls)
    pairs = {(w.waiter.name, w.holder.name) for w in found if w.holder}
    assert ("fault", "munmap") in pairs or ("fault", "mmap") in pairs
    overlaps = {w.overlap for w in found if w.holder and w.waiter.ranges and w.holder.ranges}
    assert True in overlaps
    for wait in found:
        assert wait.holder is None or wait.holder.task != wait.waiter.task


def test_one_wait_less_is_noticed(contended: Recording) -> None:
    events = contended.events
    found = waits.waits(events, contended.arch.kernel.syscalls)
    seq = next(wait.seq for wait in found if not wait.write)
    less = waits.waits(events[events["seq"] != seq], contended.arch.kernel.syscalls)
    readers = {wait.seq for wait in less if not wait.write}
    assert len(readers) != transitions(events).counts()[Move.BACK_OUT]


def test_what_is_not_armed_costs_nothing(recording: Record) -> None:
    made = recording(arch="x86_64", workloads="ipis", iterations=5, events="none")
    assert not np.isin(made.events["kind"], (Kind.ENTER, Kind.EXIT)).any()
    assert "enter" not in made.run.plugin_plan.read_text()
