"""Walks without locks, and tables freed under them."""

from __future__ import annotations

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


def test_a_walk_that_began_with_interrupts_off() -> None:
    host = "0 {} id=gup_fast_fallback a=0x180\n"
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
