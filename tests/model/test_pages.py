"""Life of frames: freed, allocated again, and never mapped in between."""

from __future__ import annotations

from shootdown import arch
from shootdown.model import pages
from shootdown.trace.functions import Function
from shootdown.trace.schema import Use
from shootdown.trace.text import parse

MMU = arch.get("x86_64").mmu
FREED = "0 PAGE_FREED id=free_unref_page a={:#x} b={} c=1 d=1\n"
TAKEN = "1 PAGE_ALLOCATED id=get_page_from_freelist a={:#x} b={} c=1 d=1\n"
MAPPED = "1 PTE_WRITE a=0x13000 c={:#x} d=0x400000 level={}\n"


def freed(pa: int, frames: int = 1) -> str:
    return FREED.format(pa, frames)


def taken(pa: int, frames: int = 1) -> str:
    return TAKEN.format(pa, frames)


def stale(text: str) -> list[int]:
    events = parse(text)
    return pages.mapped_while_free(events, pages.read(events), MMU)


def test_freed_and_allocated() -> None:
    life, last = pages.read(parse(freed(0x5000) + taken(0x5000) + freed(0x5000)))
    assert (life["pa"], life["freed"], life["allocated"]) == (0x5000, 1, 2)
    assert (life["cpu"], life["allocated_cpu"], life["use"]) == (0, 1, Use.LEAF)
    assert life["freed_by"] == Function["free_unref_page"]
    assert life["allocated_by"] == Function["get_page_from_freelist"]
    assert (last["freed"], last["allocated"]) == (3, pages.NEVER)


def test_blocks_are_frames() -> None:
    lives = pages.read(parse(freed(0x4000, 4) + taken(0x6000, 2) + taken(0x4000)))
    by_frame = {int(life["pa"]): int(life["allocated"]) for life in lives}
    assert by_frame == {0x4000: 3, 0x5000: pages.NEVER, 0x6000: 2, 0x7000: 2}


def test_an_allocation_of_what_was_never_freed() -> None:
    assert len(pages.read(parse(taken(0x5000)))) == 0


def test_nothing() -> None:
    assert len(pages.read(parse("0 ARMED"))) == 0


def test_mapped_while_free() -> None:
    small, large = MAPPED.format(0x5067, 1), MAPPED.format(0x2000E7, 2)
    assert stale(freed(0x5000) + taken(0x5000) + small) == []
    assert stale(freed(0x5000) + small) == [2]
    assert stale(small + freed(0x5000)) == []
    assert stale(freed(0x6000) + small) == []
    assert stale(freed(0x5000) + MAPPED.format(0x5066, 1)) == []
    assert stale(freed(0x3FF000) + large) == [2]
    assert stale(freed(0x400000) + large) == []
    assert stale(freed(0x5000) + small.replace("0x400000", "0xffff800000000000")) == []


def test_what_was_missed() -> None:
    def missed(text: str) -> list[int]:
        return pages.unpaired(parse(text), MMU)

    assert missed(freed(0x5000) + taken(0x5000) + freed(0x5000)) == []
    assert missed(taken(0x5000)) == [1]
    assert missed(freed(0x5000) + freed(0x5000)) == [2]
    assert missed(freed(0x5000) + freed(0x6000) + taken(0x5000) + taken(0x5000)) == [4]
    assert missed(freed(0x4000, 4) + taken(0x6000)) == []
    assert missed(freed(0x4000, 4) + freed(0x6000)) == []
    assert missed(freed(0x4000, 4).replace("d=1", "d=4") + freed(0x6000)) == [2]
    assert missed(taken(0x4000, 4)) == []


def test_what_the_kernel_s_own_tests_map_is_not_missed() -> None:
    def missed(text: str) -> list[int]:
        return pages.unpaired(parse(text), MMU)

    borrowed = MAPPED.format(0xE7, 3) + "1 PTE_WRITE a=0x13000 b=0xe7 d=0x400000 level=3\n"
    assert missed(borrowed + taken(0x205000)) == []
    assert missed(borrowed + taken(0x40005000)) == [3]
    assert missed(borrowed + freed(0x205000) + freed(0x205000)) == [4]
    assert missed(borrowed + taken(0x205000) + taken(0x205000)) == [4]
    assert missed(borrowed + MAPPED.format(0x205067, 1) + taken(0x205000)) == [4]
    assert missed(borrowed + MAPPED.format(0x2000E7, 2) + taken(0x205000)) == [4]
    assert missed(borrowed + MAPPED.format(0x206067, 1) + taken(0x205000)) == []
    assert missed(borrowed + taken(0x205000).replace("c=1", "c=2")) == [3]
    assert missed(MAPPED.format(0x205067, 1) + taken(0x205000)) == [2]


def test_untrusted_sizes() -> None:
    assert len(pages.read(parse("0 PAGE_FREED a=0x1000 b=0xffffffffffffffff c=1"))) == 1 << 20


def test_all_that_is_known_of_a_life() -> None:
    text = """
    2 PAGE_FREED id=free_unref_page a=0x4000 b=2 c=3 d=1 icount=50 pc=0x123
    3 PAGE_ALLOCATED id=post_alloc_hook a=0x5000 b=1 c=1 d=1 icount=60 pc=0x456
    """
    first, second = pages.read(parse(text))
    assert dict(zip(pages.LIFE.names or (), second.tolist(), strict=True)) == {
        "freed": 1,
        "icount": 50,
        "pc": 0x123,
        "allocated": 2,
        "allocated_icount": 60,
        "pa": 0x5000,
        "freed_by": Function["free_unref_page"],
        "allocated_by": Function["post_alloc_hook"],
        "use": Use.LEAF | Use.TABLE,
        "cpu": 2,
        "allocated_cpu": 3,
        "frames": 2,
    }
    assert first["pa"] == 0x4000
    for name in ("allocated_icount", "allocated_by", "allocated_cpu"):
        assert first[name] == 0


def test_lives_are_in_the_order_of_their_ends() -> None:
    lives = pages.read(parse(freed(0x7000) + freed(0x5000) + freed(0x6000)))
    assert lives["pa"].tolist() == [0x7000, 0x5000, 0x6000]


def test_frames_that_stores_map() -> None:
    text = MAPPED.format(0x5067, 1) + MAPPED.format(0x5066, 1) + MAPPED.format(0x2000E7, 2)
    text += MAPPED.format(0x6067, 1).replace("0x400000", "0xffff800000000000")
    frames, numbers = pages.mapped(parse(text + MAPPED.format(0x7067, 1)), MMU)
    assert (frames.tolist(), numbers.tolist()) == ([0x5000, 0x7000], [1, 5])
