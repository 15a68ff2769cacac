"""Histories of per-VMA locks, from events written by hand."""

from __future__ import annotations

from shootdown.model.vma_locks import history
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
    judged = stores(text.parse(INTEGER)).values()
    assert [store.vma_locked for store in judged] == [True, False, True]
