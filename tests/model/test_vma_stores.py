"""Under which locks VMAs and their trees were changed, from events written by hand."""

from __future__ import annotations

import numpy as np

from shootdown.model.vma_stores import Store, stores
from shootdown.trace.schema import Watch
from shootdown.trace.text import parse

RUNS = "0 PROBE id=TASK_SWITCH a=0x1000\n1 PROBE id=TASK_SWITCH a=0x2000\n"
LOCK = "{} WATCH id=MMAP_LOCK a=0x90a8 b={} c={} d=0x9000\n"
BIRTH = """
0 EXIT id=vm_area_alloc b={base:#x}
0 WATCH_INIT id=VMA_MM c=0x9000 d={base:#x}
0 WATCH_INIT id=VMA_START c={start:#x} d={base:#x}
"""
DEATH = "0 ENTER id=vm_area_free b={base:#x}\n"
COUNT = "0 WATCH id=VMA_REFCNT b={old} c={new} d={base:#x}\n"
END = "{cpu} WATCH id=VMA_END b=0 c=0x5000 d={base:#x}\n"
ONE, TWO = {"base": 0x6000, "start": 0x1000}, {"base": 0x7000, "start": 0x2000}


def told(text: str) -> list[Store]:
    found = stores(parse(RUNS + text))
    return list(found.of(np.ones(len(found.seq), np.bool_)))


def test_all_that_is_known_of_a_store() -> None:
    text = BIRTH.format(**ONE) + COUNT.format(old=0, new=1, **ONE) + LOCK.format(0, 0, 1)
    assert told(text + END.format(cpu=0, **ONE)) == [
        Store(8, Watch.VMA_END, 0x9000, 0x1000, True, None, False)
    ]
    assert [s.mmap_locked for s in told(text + END.format(cpu=1, **ONE))] == [False]


def test_the_tree_is_known_by_its_mm() -> None:
    text = BIRTH.format(**ONE) + "0 WATCH id=MM_TREE b=1 c=2 d=0x9000\n"
    assert told(text) == [Store(6, Watch.MM_TREE, 0x9000, 0, False, None, False)]
    assert told(text.replace("WATCH id=MM_TREE", "WATCH_INIT id=MM_TREE")) == []


def test_only_what_is_in_the_tree_is_judged() -> None:
    born = BIRTH.format(**ONE)
    inside = COUNT.format(old=0, new=1, **ONE)
    outside = COUNT.format(old=1, new=0, **ONE)
    readers = COUNT.format(old=1, new="0x40000001", **ONE)
    excluded = COUNT.format(old="0x40000001", new="0x40000000", **ONE)
    end = END.format(cpu=0, **ONE)
    for text, count in (
        (born + end + inside, 0),
        (born + inside + end, 1),
        (born + inside + outside + end, 0),
        (born + inside + readers + end, 1),
        (born + inside + readers + excluded + end, 0),
        (born + inside + DEATH.format(**ONE) + end, 0),
        (born + inside + DEATH.format(**ONE) + born + end, 0),
        (inside + end, 1),
        (born + inside + end.replace("WATCH ", "WATCH_INIT "), 0),
    ):
        assert len(told(text)) == count, text


def test_kernels_whose_vmas_are_not_counted() -> None:
    lock = "0 WATCH id=VMA_LOCK_SEQ b=0 c=7 d=0x6000\n"
    marked = "0 WATCH id=VMA_DETACHED b={} c={} d=0x6000\n"
    end, born = END.format(cpu=0, **ONE), BIRTH.format(**ONE)
    assert len(told(born + end)) == 1
    assert len(told(end)) == 0
    assert len(told(born + end + lock)) == 0
    assert len(told(born + lock + end)) == 1
    assert len(told(born + lock.replace("WATCH ", "WATCH_INIT ") + end)) == 0
    assert len(told(born + lock + marked.format(0, 1) + end)) == 0
    assert len(told(born + lock + marked.format(0, 1) + marked.format(1, 0) + end)) == 1


def test_words_of_two_vmas_are_told_apart() -> None:
    ends = END.format(cpu=0, **TWO) + END.format(cpu=0, **ONE)
    both = "".join(BIRTH.format(**v) + COUNT.format(old=0, new=1, **v) for v in (ONE, TWO))
    assert [s.start for s in told(both + ends)] == [0x2000, 0x1000]
    moved = "0 WATCH id=VMA_START c=0x3000 d=0x7000\n0 WATCH id=VMA_START c=0x4000 d=0x7000\n"
    assert [s.start for s in told(both + moved)] == [0x2000, 0x3000]


def test_the_lock_of_a_vma_is_by_its_own_mm() -> None:
    locked = "0 WATCH id=VMA_LOCK_SEQ b=0 c=7 d=0x6000\n"
    other = "0 WATCH_INIT id=MM_LOCK_SEQ c=7 d=0x8000\n"
    own = "0 WATCH{} id=MM_LOCK_SEQ c={} d=0x9000\n"
    born, end = BIRTH.format(**ONE), END.format(cpu=0, **ONE)
    for text, expected in (
        (other, None),
        (other + own.format("_INIT", 6), False),
        (own.format("_INIT", 6) + own.format("", 7), True),
        (own.format("_INIT", 7) + own.format("", 8), False),
        (own.format("_INIT", (5 << 32) + 7), True),
    ):
        assert [s.vma_locked for s in told(born + locked + text + end)] == [expected], text
    late = born + own.format("_INIT", 7) + locked
    assert [s.vma_locked for s in told(late + end + own.format("", 8))] == [True]


def test_flags_that_are_only_set_in_one_step() -> None:
    flags = "0 WATCH id=VMA_FLAGS b={} c={} d=0x6000{}\n"
    born = BIRTH.format(**ONE)
    for text, expected in (
        (flags.format(1, 3, " flags=ATOMIC"), True),
        (flags.format(1, 2, " flags=ATOMIC"), False),
        (flags.format(1, 3, ""), False),
        (flags.format(1, 3, " flags=ATOMIC").replace("FLAGS b", "END b"), False),
    ):
        assert [s.atomic_set for s in told(born + text)] == [expected], text
