"""Kernel entries in which nothing is taken away: what of them the fast checker leaves out."""

import numpy as np

from shootdown import arch
from shootdown.model.stream import Selection, whole
from shootdown.model.thin import Thin
from shootdown.trace.functions import Function
from shootdown.trace.schema import Kind, Watch
from shootdown.trace.text import parse

MM = 0xAA0000
HEARD = (
    *(Function.tlb_gather_mmu, Function.tlb_finish_mmu, Function.change_protection),
    *(Function.vm_area_free, Function["__vm_area_free"]),
)
WORDS = (
    *(Watch.MMAP_LOCK, Watch.VMA_START, Watch.VMA_END, Watch.VMA_FLAGS, Watch.VMA_PAGE_PROT),
    *(Watch.VMA_LOCK_SEQ, Watch.VMA_REFCNT, Watch.MM_TREE),
)


def kept(text: str, demanded: tuple[int, ...] = ()) -> list[int]:
    """Numbers of the lines, from 1 on, that are left."""
    events = parse(text)
    thin = Thin(arch.get("x86_64"), 14, map(int, HEARD))
    thin.demand(demanded)
    chosen = Selection(map(int, Kind), map(int, WORDS), thin)
    return [event.seq for event in chosen.events(whole(events))]


BACK = "0 RET_USER\n"
STORE = "0 PTE_WRITE a=0x13000 b=0x50067 d=0x400000 level=1\n"
MAPPED = "0 PTE_WRITE a=0x13000 c=0x50067 d=0x400000 level=1\n"
SWITCH = "0 PROBE id=TASK_SWITCH a=0x200 b=2 c=2 d=0xaa0000\n"
TAKEN, LEFT = (f"0 WATCH id=MMAP_LOCK a=0xa8 b={b} c={c} d={MM:#x}\n" for b, c in ((0, 1), (1, 0)))
DOWN, UP = (
    f"0 WATCH id=MMAP_LOCK a=0xa8 b={b} c={c} d={MM:#x}\n" for b, c in ((1, 0x100), (0x100, 0))
)


def call(function: str, sp: int, inside: str = "", b: int = 0) -> str:
    return f"0 ENTER id={function} a={sp:#x} b={b:#x} c={MM:#x}\n" + inside + leave(function, sp)


def leave(function: str, sp: int) -> str:
    return f"0 EXIT id={function} a={sp:#x}\n"


BEGUN = call("tlb_gather_mmu", 0xFFFF0100, b=0xFFFF0200)
FINISHED = call("tlb_finish_mmu", 0xFFFF0100, b=0xFFFF0200)
CHANGE = call("change_protection", 0xFFFF0100)


def test_a_call_that_takes_nothing_away():
    text = BACK + TAKEN + BEGUN + CHANGE + FINISHED + LEFT + BACK
    assert kept(text) == [1]
    assert kept(BACK + TAKEN + BEGUN + CHANGE + MAPPED + FINISHED + LEFT) == [1, 7]


def test_what_it_takes_away_is_followed_to_the_end():
    text = BACK + TAKEN + BEGUN + STORE + FINISHED + LEFT + BACK
    assert kept(text) == [1, 3, 4, 5, 6, 7, 8, 9]


def test_nothing_is_known_of_the_task_before_it_comes_from_user_mode():
    text = TAKEN + BEGUN + FINISHED + LEFT
    assert kept(text) == [*range(1, 7)]
    assert kept(BACK + SWITCH + text) == [*range(1, 9)]
    assert kept(BACK + STORE + text) == [*range(1, 9)]
    assert kept(BACK + text.replace("0 ", "1 ", 1)) == [1, 2]


def test_a_downgraded_lock_is_followed():
    text = BACK + CHANGE + TAKEN + DOWN + UP + BACK
    assert kept(text) == [1, 5, 6, 7]
    assert kept(BACK + CHANGE + UP + DOWN.replace("c=256", "c=512") + BACK) == [1]


def test_a_task_on_two_vcpus_is_not_followed():
    here, there = "0 PROBE id=TASK_SWITCH a=0x100\n", "1 PROBE id=TASK_SWITCH a=0x100\n"
    text = BACK + CHANGE
    assert kept(here + there + text) == [1, 2, 3, 4, 5]
    assert kept(there + here.replace("a=0x100", "a=0x300") + text) == [1, 2, 3]
    moved = here + SWITCH + there + text
    assert kept(moved) == [1, 2, 3, 4]


def test_a_gather_that_stays_open():
    text = BACK + TAKEN + BEGUN + LEFT + CHANGE + BACK
    assert kept(text) == [1, *range(3, 9)]
    other = FINISHED.replace("b=0xffff0200", "b=0xffff0300")
    assert kept(BACK + BEGUN + other + BACK) == [*range(1, 7)]
    twice = BEGUN + call("tlb_gather_mmu", 0xFFFF0100, b=0xFFFF0300) + other + FINISHED
    assert kept(BACK + CHANGE + twice + BACK) == [1, *range(4, 13)]


def test_a_finish_that_returns_elsewhere():
    lost = FINISHED.replace("0 EXIT id=tlb_finish_mmu a=0xffff0100", "0 EXIT id=tlb_finish_mmu a=1")
    assert kept(BACK + BEGUN + lost + BACK) == [*range(1, 7)]


def test_calls_that_the_stack_needs_keep_the_gathers_around_them():
    """A call that cannot be left out for the stack's sake is told, and so are all of the entry."""
    inner = "0 ENTER id=change_protection a=0xffff0080\n"
    text = BACK + TAKEN + BEGUN + inner + FINISHED + LEFT + STORE
    assert kept(text) == [*range(1, 10)]


def test_the_end_of_a_vma_is_always_told():
    free = call("vm_area_free", 0xFFFF0100, b=0x660000)
    assert kept(BACK + free + BACK) == [1, 2, 3, 4]


def word(name: str, value: int, cpu: int = 0, kind: str = "WATCH", vma: int = 0x660000) -> str:
    return f"{cpu} {kind} id={name} a={vma:#x} c={value} d={vma:#x}\n"


START = word("VMA_START", 1)


def test_words_of_vmas_that_are_overwritten():
    assert kept(BACK + START * 3) == [1, 4]
    assert kept(BACK + START + word("VMA_END", 1) + word("VMA_FLAGS", 2) + START) == [1, 3, 4, 5]
    assert kept(BACK + START + word("VMA_START", 1, vma=0x670000)) == [1, 2, 3]
    other = word("VMA_START", 1, vma=0x670000)
    assert kept(BACK + START * 2 + other * 2) == [1, 3, 5]
    assert kept(START * 3) == [1, 2, 3]
    assert kept(BACK + word("MM_TREE", 1) * 2) == [1, 2, 3]


def test_words_that_somebody_may_look_at():
    assert kept(BACK + START + "1" + STORE[1:] + START) == [1, 2, 3, 4]
    assert kept(BACK + START + MAPPED + START) == [1, 3, 4]
    assert kept(BACK + START + word("VMA_START", 1, cpu=1)) == [1, 2, 3]


def test_first_values_begin_a_vma():
    first = word("VMA_START", 1, kind="WATCH_INIT")
    assert kept(BACK + first + START) == [1, 2, 3]
    assert kept(BACK + START + first) == [1, 3]
    lock = word("VMA_LOCK_SEQ", 1)
    assert kept(BACK + lock + lock.replace("WATCH", "WATCH_INIT")) == [1, 2, 3]
    assert kept(BACK + first + first) == [1, 2, 3]


def test_locks_of_vmas_bring_them_into_the_tree():
    lock = word("VMA_LOCK_SEQ", 1)
    assert kept(BACK + lock + lock) == [1, 3]
    assert kept(BACK + lock + STORE + lock) == [1, 2, 3, 4]
    assert kept(BACK + lock + word("VMA_END", 1, cpu=1) + lock) == [1, 2, 3, 4]
    assert kept(BACK + lock + "1 RET_USER\n" + word("VMA_END", 1, cpu=1) + lock) == [1, 3, 4, 5]
    assert kept(BACK + lock + SWITCH + lock) == [1, 2, 3, 4]


def test_counts_of_vmas_stay():
    count = "0 WATCH id=VMA_REFCNT a=0x660000 b=0 c=1 d=0x660000\n"
    assert kept(BACK + count * 2) == [1, 2, 3]


def test_protections_of_pages_are_for_who_demands_them():
    prot = word("VMA_PAGE_PROT", 1)
    assert kept(STORE + prot + prot) == [1]
    assert kept(STORE + prot + prot, (3, 9)) == [1, 3]
    assert kept(BACK + START * 3, (2,)) == [1, 2, 4]
    assert np.array_equal(kept(BACK + CHANGE, (3,)), [1, 3])
