"""Histories of per-VMA locks, from events written by hand."""

from __future__ import annotations

from shootdown.model.vma_locks import Change, history
from shootdown.model.vma_stores import stores
from shootdown.trace import text


def told(body: str) -> list[tuple[str, int]]:
    found = history(text.parse(body))
    assert found.breaks == 0
    return [(change.event, change.readers) for change in found.steps]


def test_reference_counts() -> None:
    assert told("""
        0 WATCH_INIT id=VMA_REFCNT a=0x80 d=0x6000
        0 WATCH id=VMA_REFCNT a=0x80 b=0 c=1 d=0x6000
        1 WATCH id=VMA_REFCNT a=0x80 b=1 c=2 d=0x6000
        0 WATCH id=VMA_REFCNT a=0x80 b=2 c=0x40000002 d=0x6000
        1 WATCH id=VMA_REFCNT a=0x80 b=0x40000002 c=0x40000001 d=0x6000
        0 WATCH id=VMA_REFCNT a=0x80 b=0x40000001 c=1 d=0x6000
        0 WATCH id=VMA_REFCNT a=0x80 b=1 c=0 d=0x6000
    """) == [
        ("attach", 0),
        ("read_acquire", 1),
        ("exclude", 1),
        ("read_release", 0),
        ("include", 0),
        ("detach", 0),
    ]


def test_numbers_drawn_late_are_put_in_order() -> None:
    assert told("""
        0 WATCH_INIT id=VMA_REFCNT a=0x80 c=1 d=0x6000
        1 WATCH id=VMA_REFCNT a=0x80 b=2 c=3 d=0x6000
        0 WATCH id=VMA_REFCNT a=0x80 b=1 c=2 d=0x6000
    """) == [("read_acquire", 1), ("read_acquire", 2)]


def test_a_missing_change_is_a_break() -> None:
    found = history(
        text.parse("""
        0 WATCH_INIT id=VMA_REFCNT a=0x80 c=1 d=0x6000
        0 WATCH id=VMA_REFCNT a=0x80 b=2 c=1 d=0x6000
    """)
    )
    assert found.breaks == 1


def test_semaphores() -> None:
    assert told("""
        0 WATCH_INIT id=VMA_LOCK a=0x90 d=0x6000
        1 WATCH id=VMA_LOCK a=0x90 b=0 c=0x100 d=0x6000
        1 WATCH id=VMA_LOCK a=0x90 b=0x100 c=0 d=0x6000
        0 WATCH id=VMA_LOCK a=0x90 b=0 c=1 d=0x6000
        0 WATCH id=VMA_LOCK_SEQ a=0x2c b=-1 c=5 d=0x6000
        0 WATCH id=VMA_LOCK a=0x90 b=1 c=0 d=0x6000
        0 WATCH id=VMA_DETACHED a=0x28 b=0 c=1 d=0x6000
        0 WATCH id=MM_LOCK_SEQ a=0xe0 b=5 c=6 d=0x5000
    """) == [
        ("read_acquire", 1),
        ("read_release", 0),
        ("write_acquire", 0),
        ("write_release", 0),
        ("write_lock", 0),
        ("detach", 0),
        ("mm_seq", 0),
    ]


INTEGER = """
0 PROBE id=TASK_SWITCH a=0x1000
0 WATCH_INIT id=MM_LOCK_SEQ a=0x10 size=4 d=0x9000
0 EXIT id=vm_area_alloc b=0x6000
0 WATCH_INIT id=VMA_MM a=0x30 c=0x9000 d=0x6000
0 WATCH_INIT id=VMA_LOCK_SEQ a=0x2c c=0xffffffff size=4 d=0x6000
0 WATCH id=VMA_LOCK_SEQ a=0x2c b=0xffffffff c=0 size=4 d=0x6000
0 WATCH id=VMA_END a=0x38 b=0 c=0x1000 d=0x6000
0 WATCH id=MM_LOCK_SEQ a=0x10 b=0 c=1 size=4 d=0x9000
0 WATCH id=VMA_END a=0x38 b=0x1000 c=0x2000 d=0x6000
0 WATCH id=VMA_LOCK_SEQ a=0x2c b=0 c=1 size=4 d=0x6000
0 WATCH id=VMA_END a=0x38 b=0x2000 c=0x3000 d=0x6000
"""
"""mm_lock_seq as 6.4 to 6.11 have it, an integer (include/linux/mmap_lock.h of 6.6,
vma_end_write_all()): one change for each time mmap_lock was held to write, at its end."""


def test_an_integer_for_a_sequence() -> None:
    assert [event for event, _ in told(INTEGER)] == ["write_lock", "mm_seq", "write_lock"]
    assert stores(text.parse(INTEGER)).vma_locked.tolist() == [True, False, True]


def test_all_that_is_known_of_a_change() -> None:
    found = history(
        text.parse("""
        0 WATCH_INIT id=VMA_LOCK a=0x90 d=0x6000
        0 WATCH_INIT id=VMA_REFCNT a=0x80 c=1 d=0x7000
        1 WATCH id=VMA_LOCK a=0x90 b=0 c=0x100 d=0x6000 icount=50 pc=0x123
        2 WATCH id=VMA_REFCNT a=0x80 b=1 c=2 d=0x7000 icount=60 pc=0x456
        3 WATCH id=MM_LOCK_SEQ a=0xe0 b=5 c=6 d=0x5000 icount=70 pc=0x789
        """)
    )
    assert found == (
        [
            Change(3, 50, 0x123, 1, "read_acquire", 0x6000, 0, 0x100, 1),
            Change(4, 60, 0x456, 2, "read_acquire", 0x7000, 1, 2, 1),
            Change(5, 70, 0x789, 3, "mm_seq", 0x5000, 5, 6, 0),
        ],
        0,
    )


def test_counts_of_two_vmas_are_told_apart() -> None:
    count = "0 WATCH id=VMA_REFCNT a={:#x} b={} c={} d={:#x}\n"
    body = "".join(
        count.format(word, old, old + 1, base)
        for old in (1, 2)
        for word, base in ((0x180, 0x7000), (0x80, 0x6000))
    )
    found = history(text.parse(body))
    assert found.breaks == 0
    changes = [(change.base, change.readers) for change in found.steps]
    assert changes == [(0x6000, 1), (0x6000, 2), (0x7000, 1), (0x7000, 2)]


def test_breaks_of_all_words_are_added() -> None:
    body = "0 WATCH_INIT id=VMA_REFCNT a={0:#x} c=1 d=0x6000\n"
    body += "0 WATCH id=VMA_REFCNT a={0:#x} b=8 c=9 d=0x6000\n"
    semaphore = (
        body.format(0x90).replace("VMA_REFCNT", "VMA_LOCK").replace("8 c=9", "0x800 c=0x900")
    )
    counts = body.format(0x80) + body.format(0x180)
    assert history(text.parse(counts)).breaks == 2
    assert history(text.parse(counts + semaphore)).breaks == 3


def test_a_step_that_no_count_makes() -> None:
    assert told("0 WATCH id=VMA_REFCNT a=0x80 b=1 c=3 d=0x6000") == [("strange", 2)]
    assert told("0 WATCH id=VMA_REFCNT a=0x80 b=3 c=1 d=0x6000") == [("strange", 0)]


def test_the_first_value_is_no_change() -> None:
    assert told("0 WATCH_INIT id=VMA_REFCNT a=0x80 c=1 d=0x6000") == []
    assert told("0 WATCH_INIT id=VMA_LOCK_SEQ a=0x2c c=5 d=0x6000") == []


def test_a_word_that_says_attached() -> None:
    assert told("0 WATCH id=VMA_DETACHED a=0x28 b=1 c=0 d=0x6000") == [("attach", 0)]


def test_a_writer_that_gives_up() -> None:
    """A detacher drains readers with the count down already: 2**30 alone is detached, too."""
    assert told("0 WATCH id=VMA_REFCNT a=0x80 b=0x40000001 c=0x40000000 d=0x6000") == [
        ("read_release", 0)
    ]
