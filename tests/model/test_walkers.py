"""Walks without locks, and tables freed under them."""

from __future__ import annotations

import pytest

from shootdown.model import walkers
from shootdown.trace.text import parse

WALK = "{} ENTER id=gup_fast a=0x100\n"
DONE = "{} EXIT id=gup_fast a=0x100\n"
UNLINK = "0 TABLE_UNLINK b=0x2000 c=0x400000 level=1\n"
FREED = "0 PAGE_FREED id=__free_frozen_pages a=0x2000 b=1 c=2 d=1\n"
IPI = "{} ENTER id=tlb_remove_table_smp_sync a=0x200\n"


def broken(text: str) -> list[tuple[int, int]]:
    events = parse(text)
    return walkers.walked_while_freed(walkers.walks(events), walkers.frees(events))


def test_walks() -> None:
    text = WALK.format(0) + WALK.format(1) + DONE.format(1) + DONE.format(0)
    found = walkers.walks(parse(text))
    assert [(w["cpu"], w["begin"], w["end"]) for w in found] == [(0, 1, 4), (1, 2, 3)]


@pytest.mark.parametrize("function", ["gup_fast_fallback", "internal_get_user_pages_fast"])
def test_a_walk_that_began_with_interrupts_off(function: str) -> None:
    host = f"0 {{}} id={function} a=0x180\n"
    text = host.format("ENTER") + WALK.format(0) + host.format("EXIT")
    (walk,) = walkers.walks(parse(text))
    assert walk["end"] == 3


def test_a_walk_that_the_trace_ends_in() -> None:
    (walk,) = walkers.walks(parse(WALK.format(0)))
    assert walk["end"] == walkers.NEVER


def test_a_table_is_freed_after_an_ipi() -> None:
    text = IPI.format(1) + UNLINK + IPI.format(1) + IPI.format(2) + FREED + IPI.format(0)
    (freed,) = walkers.frees(parse(text))
    assert (freed["table"], freed["unlinked"], freed["ipis"]) == (0x2000, 2, 2)
    assert not freed["grace"]


def test_a_table_is_freed_after_a_grace_period() -> None:
    callback = "0 {} id=tlb_remove_table_rcu a=0x300\n"
    (freed,) = walkers.frees(parse(UNLINK + callback.format("ENTER") + FREED))
    assert freed["grace"]
    late = callback.format("ENTER") + callback.format("EXIT")
    (freed,) = walkers.frees(parse(UNLINK + late + FREED))
    assert not freed["grace"]


def test_the_last_time_it_was_unlinked_counts() -> None:
    (freed,) = walkers.frees(parse(UNLINK + UNLINK + FREED))
    assert freed["unlinked"] == 2


def test_freed_under_a_walk() -> None:
    walk, done = WALK.format(1), DONE.format(1)
    assert broken(walk + UNLINK + FREED + done) == [(1, 3)]
    assert broken(walk + UNLINK + FREED) == [(1, 3)]
    assert broken(walk + UNLINK + done + FREED) == []
    assert broken(UNLINK + walk + FREED + done) == []
    assert broken(walk.replace("1", "0", 1) + UNLINK + FREED) == []
    assert broken(walk + UNLINK + FREED.replace("c=2", "c=1")) == []


def test_all_that_is_known_of_a_walk() -> None:
    text = "3 PROBE id=TASK_SWITCH a=0x77\n" + WALK.format(3).replace("\n", " icount=5 pc=0x12\n")
    (walk,) = walkers.walks(parse(text + DONE.format(3)))
    assert dict(zip(walkers.WALK.names or (), walk.tolist(), strict=True)) == {
        "begin": 2,
        "end": 3,
        "icount": 5,
        "pc": 0x12,
        "task": 0x77,
        "cpu": 3,
    }


def test_walks_of_a_cpu_are_told_apart() -> None:
    text = WALK.format(1) + DONE.format(1) + WALK.format(0) + WALK.format(1) + DONE.format(1)
    found = walkers.walks(parse(text))
    assert found["begin"].tolist() == [1, 3, 4]
    assert found["end"].tolist() == [2, walkers.NEVER, 5]


def test_other_functions_are_no_walks() -> None:
    assert len(walkers.walks(parse("0 ENTER id=handle_mm_fault a=0x100\n"))) == 0
    (walk,) = walkers.walks(parse(WALK.format(0) + "0 EXIT id=handle_mm_fault a=0x1\n"))
    assert walk["end"] == walkers.NEVER


def test_all_that_is_known_of_a_table_that_was_freed() -> None:
    text = UNLINK + FREED.replace("0 ", "2 ", 1).replace("\n", " icount=5 pc=0x12\n")
    (freed,) = walkers.frees(parse(text))
    assert dict(zip(walkers.FREED.names or (), freed.tolist(), strict=True)) == {
        "table": 0x2000,
        "unlinked": 1,
        "freed": 2,
        "icount": 5,
        "pc": 0x12,
        "cpu": 2,
        "ipis": 0,
        "grace": False,
    }


def test_a_table_that_was_unlinked_afterwards_only() -> None:
    """Its pages were somebody else's then: it is told of, and when it was unlinked is not known."""
    (freed,) = walkers.frees(parse(FREED + UNLINK))
    assert (freed["freed"], freed["unlinked"]) == (1, 0)


def test_a_root_is_a_table() -> None:
    (freed,) = walkers.frees(parse("0 ROOT_FORGET b=0x2000\n" + FREED))
    assert freed["unlinked"] == 1


def test_what_was_never_a_table_here_is_none() -> None:
    assert len(walkers.frees(parse(UNLINK.replace("0x2000", "0x3000") + FREED))) == 0


def test_a_cpu_that_took_two_interrupts_is_one() -> None:
    (freed,) = walkers.frees(parse(UNLINK + IPI.format(1) + IPI.format(1) + FREED))
    assert freed["ipis"] == 1


CALLBACK = "0 ENTER id=tlb_remove_table_rcu a={:#x}\n"
TASK = "0 PROBE id=TASK_SWITCH a=0x77 d={}\n0 PROBE_MORE id=TASK_SWITCH c={:#x}\n"


@pytest.mark.parametrize(
    ("mm", "stack", "sp", "grace"),
    [
        ("0xaa0000", 0x10000, 0x10000, False),  # a user's task frees the table itself
        ("0xaa0000", 0x10000, 0x13FFF, False),
        ("0xaa0000", 0x10000, 0x14000, True),  # an interrupt's stack
        ("0xaa0000", 0x10000, 0xFFFF, True),
        ("0", 0x10000, 0x10800, True),  # a kernel thread
    ],
)
def test_callbacks_run_by_rcu(mm: str, stack: int, sp: int, grace: bool) -> None:
    text = TASK.format(mm, stack) + UNLINK + CALLBACK.format(sp) + FREED
    (freed,) = walkers.frees(parse(text))
    assert bool(freed["grace"]) is grace


def test_the_task_that_ran_last_counts() -> None:
    kernel_thread = TASK.format("0", 0x20000)
    text = TASK.format("0xaa0000", 0x10000) + UNLINK + kernel_thread
    (freed,) = walkers.frees(parse(text + CALLBACK.format(0x10800) + FREED))
    assert freed["grace"]
    late = CALLBACK.format(0x10800) + FREED + kernel_thread
    (freed,) = walkers.frees(parse(TASK.format("0xaa0000", 0x10000) + UNLINK + late))
    assert not freed["grace"]


def test_a_callback_on_another_cpu_is_no_matter() -> None:
    text = UNLINK + CALLBACK.format(0x300).replace("0 ", "1 ", 1) + FREED
    (freed,) = walkers.frees(parse(text))
    assert not freed["grace"]
    both = UNLINK + CALLBACK.format(0x300) + FREED + FREED.replace("0 ", "1 ", 1)
    assert walkers.frees(parse(both))["grace"].tolist() == [True, False]


def test_the_older_form_of_the_callback() -> None:
    (freed,) = walkers.frees(parse(UNLINK + "0 ENTER id=pte_free_now a=0x300\n" + FREED))
    assert freed["grace"]
