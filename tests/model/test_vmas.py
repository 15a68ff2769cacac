"""Lives of VMAs, from events written by hand."""

from __future__ import annotations

from shootdown.model.vmas import Step, steps
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


def test_all_that_is_known_of_a_step() -> None:
    made = "3 EXIT id=vm_area_alloc a=0x100 b=0x6000 icount=50 pc=0x123\n"
    words = """
    0 WATCH_INIT id=VMA_START a=0x0 c=0x400000 d=0x6000
    0 WATCH_INIT id=VMA_END a=0x8 c=0x500000 d=0x6000
    0 WATCH_INIT id=VMA_MM a=0x10 c=0x5000 d=0x6000
    0 WATCH_INIT id=VMA_FLAGS a=0x20 c=0x73 d=0x6000
    0 WATCH_INIT id=VMA_PAGE_PROT a=0x18 c=0x25 d=0x6000
    0 WATCH_INIT id=VMA_DETACHED a=0x28 c=1 d=0x6000
    2 WATCH id=VMA_FLAGS a=0x20 b=0x73 c=0x71 d=0x6000 icount=60 pc=0x456
    """
    born, changed = steps(text.parse(made + words))
    assert born == Step(
        seq=1,
        icount=50,
        pc=0x123,
        cpu=3,
        event="alloc",
        base=0x6000,
        generation=1,
        old=0,
        new=0x6000,
        start=0x400000,
        end=0x500000,
        mm=0x5000,
        flags=0x73,
        page_prot=0x25,
        attached=False,
    )
    where = {"seq": 8, "icount": 60, "pc": 0x456, "cpu": 2}
    assert changed == born._replace(**where, event="flags", old=0x73, new=0x71, flags=0x71)


def test_all_that_is_known_of_a_death() -> None:
    words = "0 WATCH_INIT id=VMA_END a=0x8 c=0x500000 d=0x6000\n"
    late = "0 ENTER id=vm_area_free_rcu_cb a=0x100 b=0x6000\n"
    born, freed, released = steps(text.parse(BIRTH + words + DEATH + late))
    assert freed == born._replace(seq=6, event="free", old=0, new=0)
    assert released == freed._replace(seq=7, event="release")


def test_exit_mmap_frees_them_at_once() -> None:
    assert told(BIRTH + DEATH.replace("vm_area", "__vm_area"))[1:] == [("free", 1)]


def test_the_tree_of_an_mm() -> None:
    (step,) = steps(text.parse("1 WATCH id=MM_TREE a=0x48 b=7 c=8 d=0x5000"))
    assert (step.event, step.base, step.mm, step.generation) == ("tree", 0x5000, 0x5000, 0)
    assert (step.old, step.new, step.start, step.attached) == (7, 8, 0, False)


def test_attachment_as_a_word_of_its_own() -> None:
    detached = "0 WATCH_INIT id=VMA_DETACHED a=0x28 c=1 d=0x6000\n"
    change = "0 WATCH id=VMA_DETACHED a=0x28 b={} c={} d=0x6000\n"
    birth = "0 EXIT id=vm_area_alloc a=0x100 b=0x6000\n" + detached
    assert told(birth + change.format(1, 0) + change.format(0, 1)) == [
        ("alloc", 1),
        ("attach", 1),
        ("detach", 1),
    ]


def test_where_no_word_tells_it_is_attached() -> None:
    (step,) = steps(text.parse("0 EXIT id=vm_area_alloc a=0x100 b=0x6000"))
    assert step.attached


def test_a_vma_that_was_there_before_recording_began() -> None:
    init = "0 WATCH_INIT id=VMA_START a=0 c=0x400000 d=0x6000\n"
    change = "0 WATCH id=VMA_END a=8 b=0x500000 c=0x600000 d=0x6000\n"
    found = steps(text.parse(init + change + DEATH))
    assert [(step.event, step.generation) for step in found] == [("end", 0), ("release", 0)]
    assert (found[0].start, found[0].end, found[0].old) == (0, 0x600000, 0x500000)


def test_what_is_told_of_the_dead_is_no_step() -> None:
    again = "0 WATCH_INIT id=VMA_START a=0 c=0x400000 d=0x6000\n"
    first, last = steps(text.parse(BIRTH + DEATH + again))
    assert (first.start, last.event, last.start) == (0, "free", 0)


def test_parents_by_the_call_that_copies_them() -> None:
    found = steps(
        text.parse("""
        0 ENTER id=vm_area_dup a=0x100 b=0x6000
        1 ENTER id=vm_area_dup a=0x200 b=0x7000
        0 ENTER id=vm_area_alloc a=0x300 b=0x5000
        0 EXIT id=vm_area_alloc a=0x300 b=0xa000
        1 EXIT id=vm_area_dup a=0x200 b=0x9000
        0 EXIT id=vm_area_dup a=0x100 b=0x8000
        0 EXIT id=vm_area_dup a=0x100 b=0xb000
        """)
    )
    bases = [(step.base, step.old) for step in found]
    assert bases == [(0xA000, 0), (0x9000, 0x7000), (0x8000, 0x6000), (0xB000, 0)]


def test_a_second_life_begins_with_its_own_words() -> None:
    word = "0 WATCH_INIT id=VMA_START a=0 c={:#x} d=0x6000\n"
    found = steps(text.parse(BIRTH + word.format(0x1000) + DEATH + BIRTH + word.format(0x2000)))
    assert [step.start for step in found] == [0x1000, 0x1000, 0x2000]
