"""Lives of VMAs, from events written by hand."""

from __future__ import annotations

from shootdown.model.vmas import steps
from shootdown.trace import text

BIRTH = """
0 ENTER id=vm_area_alloc a=0x100 b=0x5000
0 EXIT id=vm_area_alloc a=0x100 b=0x6000
0 WATCH_INIT id=VMA_MM a=0x10 c=0x5000 d=0x6000
0 WATCH_INIT id=VMA_REFCNT a=0x80 d=0x6000
"""
DEATH = "0 ENTER id=vm_area_free a=0x100 b=0x6000\n"


def told(body: str) -> list[tuple[str, int]]:
    return [(step.event, step.generation) for step in steps(text.parse(body))]


def test_a_life() -> None:
    found = steps(
        text.parse(
            BIRTH
            + """
            0 WATCH id=VMA_START a=0 b=0 c=0x400000 d=0x6000
            0 WATCH id=VMA_END a=8 b=0 c=0x500000 d=0x6000
            0 WATCH id=VMA_REFCNT a=0x80 b=0 c=1 d=0x6000
            1 WATCH id=VMA_REFCNT a=0x80 b=1 c=2 d=0x6000
            1 WATCH id=VMA_REFCNT a=0x80 b=2 c=1 d=0x6000
            0 WATCH id=VMA_REFCNT a=0x80 b=1 c=0 d=0x6000
            """
            + DEATH
        )
    )
    events = ["alloc", "start", "end", "attach", "detach", "free"]
    assert [step.event for step in found] == events
    assert [step.attached for step in found] == [False, False, False, True, False, False]
    last = found[-1]
    assert (last.start, last.end, last.mm, last.base) == (0x400000, 0x500000, 0x5000, 0x6000)


def test_an_address_comes_back_as_another_generation() -> None:
    assert told(BIRTH + DEATH + BIRTH) == [("alloc", 1), ("free", 1), ("alloc", 2)]


def test_a_copy_names_what_it_was_made_of() -> None:
    (step,) = steps(
        text.parse("""
        0 ENTER id=vm_area_dup a=0x100 b=0x6000
        0 EXIT id=vm_area_dup a=0x100 b=0x7000
        1 WATCH id=MM_TREE a=0x48 b=1 c=1 d=0x5000
        0 WATCH_INIT id=VMA_START a=0x90 c=0x400000 d=0x7000
        """)
    )[:1]
    assert (step.event, step.old, step.new, step.start) == ("dup", 0x6000, 0x7000, 0x400000)


def test_nothing_is_born_without_memory() -> None:
    assert told("0 ENTER id=vm_area_alloc a=0x100\n0 EXIT id=vm_area_alloc a=0x100") == []


def test_the_list_of_callbacks_is_no_range() -> None:
    late = """
    0 WATCH id=VMA_START a=0 b=0x400000 c=0 d=0x6000
    0 ENTER id=vm_area_free_rcu_cb a=0x100 b=0x6000
    """
    assert told(BIRTH + DEATH + late) == [("alloc", 1), ("free", 1), ("release", 1)]


def test_a_bit_that_keeps_readers_out_is_no_attachment() -> None:
    held = "0 WATCH id=VMA_REFCNT a=0x80 b=0x40000001 c=0x40000000 d=0x6000\n"
    attached = "0 WATCH id=VMA_REFCNT a=0x80 b=0 c=1 d=0x6000\n"
    assert told(BIRTH + attached + held)[1:] == [("attach", 1), ("detach", 1)]
