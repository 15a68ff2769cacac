"""The operation stack, from events written by hand."""

from __future__ import annotations

import numpy as np

from shootdown.model.callstack import CallStacks, Timeline, stack_log2
from shootdown.model.stacks import ThinStacks
from shootdown.model.stream import stream, whole
from shootdown.trace import text
from shootdown.trace.functions import Function
from shootdown.trace.schema import Kind
from shootdown.trace.types import Events

MMAP, UNMAP, FLUSH = Function.do_mmap, Function.unmap_vmas, Function.flush_tlb_func
SWITCHES = """
0 PROBE id=TASK_SWITCH a=0x1 flags=MORE
0 PROBE_MORE id=TASK_SWITCH c=0x10000
"""


def events(body: str) -> Events:
    return text.parse(SWITCHES + body)


def told(body: str) -> list[str]:
    """Of every PTE_WRITE the operation it belongs to."""
    all_of_them = events(body)
    timeline = Timeline(all_of_them)
    writes = all_of_them[all_of_them["kind"] == 7]
    return [timeline.names(number) for number in timeline.of(writes).tolist()]


def test_calls_nest() -> None:
    assert told("""
        0 PTE_WRITE
        0 ENTER id=do_mmap a=0x13f00
        0 PTE_WRITE
        0 ENTER id=unmap_vmas a=0x13e00
        0 PTE_WRITE
        0 EXIT id=unmap_vmas a=0x13e00
        0 PTE_WRITE
        0 EXIT id=do_mmap a=0x13f00
        0 PTE_WRITE
    """) == ["", "do_mmap", "do_mmap > unmap_vmas", "do_mmap", ""]


def test_a_missed_end_is_seen_by_the_stack_pointer() -> None:
    assert told("""
        0 ENTER id=do_mmap a=0x13f00
        0 ENTER id=unmap_vmas a=0x13e00
        0 ENTER id=tlb_finish_mmu a=0x13e00
        0 PTE_WRITE
        0 EXIT id=do_mmap a=0x13f00
        0 PTE_WRITE
    """) == ["do_mmap > tlb_finish_mmu", ""]


def test_an_interrupt_is_over_before_what_it_interrupted_goes_on() -> None:
    assert told("""
        0 ENTER id=do_mmap a=0x13f00
        0 ENTER id=flush_tlb_func a=0x99f00
        0 PTE_WRITE
        0 EXIT id=flush_tlb_func a=0x99f00
        0 PTE_WRITE
        0 ENTER id=flush_tlb_func a=0x99f00
        0 ENTER id=unmap_vmas a=0x13e00
        0 PTE_WRITE
    """) == ["do_mmap > flush_tlb_func", "do_mmap", "do_mmap > unmap_vmas"]


def test_calls_go_with_their_task() -> None:
    assert told("""
        0 ENTER id=do_mmap a=0x13f00
        0 PROBE id=TASK_SWITCH a=0x2 flags=MORE
        0 PROBE_MORE id=TASK_SWITCH c=0x50000
        0 PTE_WRITE
        0 ENTER id=do_madvise a=0x53f00
        0 PTE_WRITE
        1 PROBE id=TASK_SWITCH a=0x1 flags=MORE
        1 PROBE_MORE id=TASK_SWITCH c=0x10000
        1 PTE_WRITE
        0 PTE_WRITE
    """) == ["", "do_madvise", "do_mmap", "do_madvise"]


def test_user_mode_is_inside_of_nothing() -> None:
    assert told("0 ENTER id=copy_process a=0x13f00\n0 RET_USER\n0 PTE_WRITE") == [""]


def test_an_end_without_a_beginning_is_counted() -> None:
    timeline = Timeline(events("0 EXIT id=do_mmap a=0x13f00"))
    assert timeline.unmatched == 1
    assert timeline.stacks == [()]


def test_the_stack_is_as_large_as_the_trace_says() -> None:
    body = "0 ENTER id=do_mmap a=0x17f00\n0 ENTER id=unmap_vmas a=0x13e00\n0 PTE_WRITE"
    small = told(body)
    large = told("0 ARMED size=15\n" + body)
    assert small == ["unmap_vmas"]  # the first looked like an interrupt's, and so it was over
    assert large == ["do_mmap > unmap_vmas"]


def test_a_call_at_the_top_of_a_stack() -> None:
    calls = CallStacks()
    calls.switch(0, 0x10000)
    calls.enter(0, MMAP, 0x14000)  # nothing is pushed yet
    calls.enter(0, UNMAP, 0x13000)
    assert calls.of(0) == (MMAP, UNMAP)
    calls.leave(0, UNMAP, 0x13000)
    assert calls.of(0) == (MMAP,)
    calls.enter(0, FLUSH, 0x2000)
    assert calls.of(0) == (MMAP, FLUSH)


def test_functions_that_nobody_entered_are_not_looked_for() -> None:
    """Inside of what was entered in this piece of the trace, or in one before."""
    calls = ThinStacks()
    pieces = [text.parse(body) for body in ("0 ENTER id=7 a=0x1000\n", "0 OBS a=1\n0 OBS a=2\n")]
    pieces[1]["seq"] += np.uint64(1)
    for piece in pieces:
        calls.begin(whole(piece))
        for event in stream(piece, (Kind.ENTER, Kind.OBS)):
            calls.now = event
            assert calls.inside(0, {7})
            assert not calls.inside(0, {8})
            if event.kind == Kind.ENTER:
                calls.enter(0, event.id, event.a)


def calls_of(*steps: tuple[int, int]) -> CallStacks:
    """CPU 0, whose task's stack begins at 0x10000, has entered functions."""
    calls = CallStacks()
    calls.switch(0, 0x10000)
    for function, sp in steps:
        calls.enter(0, function, sp)
    return calls


def test_the_borders_of_a_stack() -> None:
    assert calls_of((MMAP, 0x14000), (UNMAP, 0x10000)).of(0) == (MMAP, UNMAP)
    beside = calls_of((MMAP, 0x13000), (FLUSH, 0x14001), (FLUSH, 0xFFFF))
    assert beside.of(0) == (MMAP, FLUSH, FLUSH)
    beside.enter(0, UNMAP, 0x12000)
    assert beside.of(0) == (MMAP, UNMAP)


def test_an_interrupt_has_calls_of_its_own() -> None:
    calls = calls_of((MMAP, 0x13000), (FLUSH, 0x99000), (UNMAP, 0x98000))
    assert calls.of(0) == (MMAP, FLUSH, UNMAP)
    assert calls.frames(0) == [(MMAP, 0x13000), (FLUSH, 0x99000), (UNMAP, 0x98000)]
    calls.leave(0, UNMAP, 0x98000)
    assert calls.of(0) == (MMAP, FLUSH)
    calls.switch(0, 0x10000)
    assert calls.of(0) == (MMAP,)


def test_user_mode_ends_an_interrupt_and_the_tasks_own_calls() -> None:
    calls = calls_of((MMAP, 0x13000), (FLUSH, 0x99000))
    calls.to_user(0)
    assert calls.of(0) == ()
    calls.to_user(1)
    assert calls.of(1) == ()


def test_before_the_first_switch_there_is_one_stack() -> None:
    calls = CallStacks()
    calls.enter(0, MMAP, 0x13000)
    calls.enter(0, UNMAP, 0x12000)
    assert calls.of(0) == (MMAP, UNMAP)
    calls.leave(0, MMAP, 0x13000)
    assert (calls.of(0), calls.unmatched) == ((), 0)


def test_before_the_first_switch_each_cpu_has_a_stack_of_its_own() -> None:
    calls = CallStacks()
    calls.enter(0, MMAP, 0x13000)
    calls.enter(1, UNMAP, 0x13000)
    calls.switch(1, 0)
    assert (calls.of(0), calls.of(1)) == ((MMAP,), (UNMAP,))
    calls.to_user(1)
    assert (calls.of(0), calls.of(1)) == ((MMAP,), ())


def test_an_end_ends_what_was_below_it_and_nothing_else() -> None:
    calls = calls_of((MMAP, 0x13000), (UNMAP, 0x12000), (FLUSH, 0x11000))
    calls.leave(0, UNMAP, 0x12000)
    assert calls.of(0) == (MMAP,)
    calls.leave(0, UNMAP, 0x13000)
    calls.leave(0, MMAP, 0x12000)
    assert (calls.of(0), calls.unmatched) == ((MMAP,), 2)


def test_a_copy_goes_its_own_way() -> None:
    calls = calls_of((MMAP, 0x13000), (FLUSH, 0x99000))
    calls.stack_bytes = 1 << 15
    other = calls.copied()
    assert (other.frames(0), other.stack_bytes) == (calls.frames(0), 1 << 15)
    other.leave(0, FLUSH, 0x99000)
    other.leave(0, MMAP, 0x13000)
    assert (other.of(0), calls.of(0)) == ((), (MMAP, FLUSH))
    other.switch(0, 0x50000)
    calls.enter(0, UNMAP, 0x12000)
    assert calls.of(0) == (MMAP, UNMAP)


def test_all_kinds_of_events() -> None:
    calls = CallStacks()
    calls.event(Kind.PROBE_MORE, 0, 0, 0, 0x10000)
    calls.event(Kind.ENTER, 0, MMAP, 0x13000, 0)
    calls.event(Kind.ENTER, 0, FLUSH, 0x99000, 0)
    assert calls.of(0) == (MMAP, FLUSH)
    calls.event(Kind.EXIT, 0, FLUSH, 0x99000, 0)
    assert calls.of(0) == (MMAP,)
    calls.event(Kind.RET_USER, 0, 0, 0, 0)
    assert calls.of(0) == ()


def test_the_stack_that_an_event_is_in() -> None:
    """An ENTER is inside of itself; what comes before the first is in none."""
    all_of_them = events("0 ENTER id=do_mmap a=0x13f00\n1 PTE_WRITE\n0 EXIT id=do_mmap a=0x13f00")
    timeline = Timeline(all_of_them)
    assert timeline.of(all_of_them).tolist() == [0, 0, 1, 0, 0]
    assert timeline.stacks == [(), (MMAP,)]
    assert timeline.unmatched == 0


def test_a_stack_has_one_number() -> None:
    body = "0 ENTER id=do_mmap a=0x13f00\n0 EXIT id=do_mmap a=0x13f00\n"
    nested = "0 ENTER id=do_mmap a=0x13f00\n0 ENTER id=unmap_vmas a=0x13e00\n"
    timeline = Timeline(events(body * 2 + nested))
    assert timeline.stacks == [(), (MMAP,), (MMAP, UNMAP)]
    assert timeline.names(2) == "do_mmap > unmap_vmas"
    assert timeline.names(2, "/") == "do_mmap/unmap_vmas"


def test_the_size_of_stacks_that_no_trace_tells() -> None:
    assert stack_log2(text.parse("0 ARMED size=15")) == 15
    assert stack_log2(text.parse("0 ARMED")) == 14
    assert stack_log2(text.parse("0 PTE_WRITE size=8")) == 14
