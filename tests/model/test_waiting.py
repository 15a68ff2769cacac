"""For whom the free of a page table would have had to wait."""

from __future__ import annotations

import pytest

from shootdown.model.waiting import Waiting
from shootdown.trace.text import parse

ROOT = 0x10000
LOADED = "1 ROOT_LOAD id=CR3 a=0x10000 b=0x10000\n"
TASK = "1 PROBE id=TASK_SWITCH a=0x200 b=7 c=7 d=0xaa0000\n"
BACK, CALL, FAULT = "1 RET_USER\n", "1 PROBE id=SYSCALL a=39\n", "1 PROBE id=FAULT a=0x400000\n"
ENTER = "1 ENTER id=handle_mm_fault a=0x100\n"
SWITCH = "1 PROBE id=TASK_SWITCH a=0x300 b=8 c=8 d={}\n"


def works(text: str, cpu: int = 1, root: int = ROOT) -> bool:
    return Waiting(parse(text)).works_in(cpu, root, 1000)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (LOADED + TASK + CALL, True),
        (LOADED + TASK + FAULT, True),
        (LOADED + TASK + ENTER, True),
        (LOADED + TASK + BACK, False),
        (LOADED + TASK + BACK + CALL, True),
        (LOADED + TASK + CALL + BACK, False),
        (LOADED + TASK, False),  # nothing tells whether it is in the kernel
        (LOADED + CALL, False),  # nor for whom
        (TASK + CALL, False),  # nor where
        (LOADED + TASK + CALL + SWITCH.format(0), False),  # a kernel thread
        (LOADED + TASK + CALL + SWITCH.format("0xbb0000"), True),
        (LOADED + TASK + CALL + LOADED.replace("0x10000", "0x20000"), False),
        (LOADED.replace("CR3", "TTBR0") + TASK + CALL, True),
        (LOADED.replace("CR3", "TTBR1") + TASK + CALL, False),
        # An interrupt of a flush comes in user mode, too.
        (LOADED + TASK + BACK + "1 ENTER id=flush_tlb_func a=0x100\n", False),
        (LOADED + TASK + BACK + "1 ENTER id=tlb_remove_table_smp_sync a=0x100\n", False),
        (LOADED + TASK + BACK + "1 EXIT id=handle_mm_fault a=0x100\n", False),
        (LOADED + TASK + BACK + "1 PROBE_MORE id=SYSCALL\n", False),
    ],
)
def test_who_works_in_an_address_space(text: str, *, expected: bool) -> None:
    assert works(text) is expected


def test_cpus_are_told_apart() -> None:
    text = LOADED + TASK + CALL
    assert not works(text, cpu=0)
    assert not works(text, root=0x20000)
    both = text + text.replace("1 ", "2 ")
    waiting = Waiting(parse(both))
    assert waiting.workers(ROOT, 1000, 0) == [1, 2]
    assert waiting.workers(ROOT, 1000, 1) == [2]


def test_what_comes_at_the_number_or_later_does_not_count() -> None:
    waiting = Waiting(parse(LOADED + TASK + CALL + BACK))
    assert [waiting.works_in(1, ROOT, seq) for seq in range(3, 6)] == [False, True, False]


@pytest.mark.parametrize(
    ("point", "passed"),
    [
        (BACK, True),
        (SWITCH.format(0), True),
        ("1 ENTER id=flush_tlb_func a=0x100\n", True),
        ("1 ENTER id=tlb_remove_table_smp_sync a=0x100\n", True),
        ("1 EXIT id=flush_tlb_func a=0x100\n", False),
        (ENTER, False),
        (CALL, False),
        (BACK.replace("1", "0"), False),
    ],
)
def test_what_ends_any_walk(point: str, *, passed: bool) -> None:
    waiting = Waiting(parse(CALL + "0 BARRIER\n" + point + "0 BARRIER\n"))
    assert waiting.passed(1, 2, 4) is passed


def test_when_a_walk_must_have_ended() -> None:
    waiting = Waiting(parse("0 BARRIER\n1 RET_USER\n0 BARRIER\n"))
    assert waiting.passed(1, 2, 3)
    assert waiting.passed(1, 1, 3)
    assert not waiting.passed(1, 3, 9)
    assert not waiting.passed(1, 1, 2)


def test_the_root_that_a_table_was_linked_below_last() -> None:
    link = "0 TABLE_LINK a=0x1000 b=0x2000 d={}\n"
    waiting = Waiting(parse(link.format("0x10000") + "0 BARRIER\n" + link.format("0x20000")))
    assert [waiting.root(0x2000, seq) for seq in range(1, 5)] == [0, 0x10000, 0x10000, 0x20000]
    assert waiting.root(0x3000, 9) == 0


def test_a_frame_that_becomes_a_root_is_below_itself() -> None:
    waiting = Waiting(
        parse("""
        0 TABLE_LINK a=0x10000 b=0x2000 d=0x10000 level=3
        0 ROOT_LEARN b=0x2000 level=4
        0 TABLE_LINK a=0x20000 b=0x2000 d=0x20000 level=3
        """)
    )
    assert [waiting.root(0x2000, seq) for seq in range(1, 5)] == [0, 0x10000, 0x2000, 0x20000]
