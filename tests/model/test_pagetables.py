"""Tables rebuilt from events: by hand, and against a slow model that is obviously right."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from shootdown.arch.arm64.mmu import MMU as ARM64
from shootdown.arch.x86_64.mmu import ACCESSED, DIRTY, PRESENT
from shootdown.arch.x86_64.mmu import MMU as X86
from shootdown.model.pagetables import Shadow, Walk, index_of, span_of
from shootdown.trace.schema import DTYPE, Kind
from shootdown.trace.text import parse

# One page at VA 0x400000, then a 2 MiB page at VA 0x600000 beside it.
MAPPED = """
0 ARMED a=0xffff888000000000 b=0 c=0x1000 d=4 level=4
0 ROOT_LEARN b=0x2000 d=0x2000 level=4
0 TABLE_SLOT a=0x2000 c=0x3067 level=4
0 TABLE_LINK a=0x2000 b=0x3000 d=0x2000 level=3
0 TABLE_SLOT a=0x3000 c=0x4067 level=3
0 TABLE_LINK a=0x3000 b=0x4000 d=0x2000 level=2
0 TABLE_SLOT a=0x4018 c=0x80000000002000e7 d=0x600000 level=2
1 PTE_WRITE a=0x4010 c=0x5067 d=0x400000 level=2
1 TABLE_LINK a=0x4010 b=0x5000 c=0x400000 d=0x2000 level=1
1 PTE_WRITE a=0x5000 c=0x8000000000007067 d=0x400000 level=1
"""


def _shadow(text: str) -> Shadow:
    shadow = Shadow(X86)
    shadow.apply(parse(text))
    return shadow


def test_a_page_is_mapped_replaced_and_unmapped() -> None:
    shadow = _shadow(MAPPED)
    assert shadow.kernel_root == 0x1000
    assert shadow.tables.keys() == {0x2000, 0x3000, 0x4000, 0x5000}
    assert shadow.roots.keys() == {0x2000}
    assert shadow.tables[0x5000].va_base == 0x400000
    assert shadow.walk(0x2000, 0x400123) == Walk(0x8000000000007067, 1, 0x7123)
    assert shadow.walk(0x2000, 0x612345) == Walk(0x80000000002000E7, 2, 0x212345)
    assert shadow.walk(0x2000, 0x401000) == Walk(0, 1, None)
    assert shadow.walk(0x2000, 0x800000) == Walk(0, 2, None)
    shadow.apply(
        parse(
            """
            0 PTE_WRITE a=0x5000 b=0x8000000000007067 c=0x8000000000008067 level=1
            0 PTE_WRITE a=0x4018 b=0x80000000002000e7 c=0 level=2
            """
        )
    )
    assert shadow.walk(0x2000, 0x400123).pa == 0x8123
    assert shadow.walk(0x2000, 0x612345).pa is None
    assert shadow.inconsistencies == 0


def test_tables_and_roots_go_away() -> None:
    shadow = _shadow(
        MAPPED
        + """
        0 PTE_WRITE a=0x4010 b=0x5067 c=0 level=2
        0 TABLE_UNLINK b=0x5000 c=0x400000 level=1
        """
    )
    assert 0x5000 not in shadow.tables
    assert shadow.walk(0x2000, 0x400000) == Walk(0, 2, None)
    shadow.apply(parse("0 ROOT_FORGET b=0x2000 level=4"))
    assert not shadow.roots
    assert shadow.walk(0x2000, 0x600000) == Walk(0, 4, None, known=False)
    assert shadow.inconsistencies == 0


def test_a_table_that_comes_back_is_empty() -> None:
    again = "0 TABLE_UNLINK b=0x5000\n0 TABLE_LINK b=0x5000 a=0x4010 level=1"
    shadow = _shadow(MAPPED + again)
    assert not shadow.tables[0x5000].slots.any()


def test_the_walker_may_set_accessed_and_dirty() -> None:
    shadow = _shadow("0 ROOT_LEARN b=0x1000 level=1\n0 PTE_WRITE a=0x1000 c=0x7007 level=1")
    held = 0x7007 | ACCESSED | DIRTY
    shadow.apply(parse(f"0 PTE_WRITE a=0x1000 b={held} c=0 level=1"))
    assert shadow.inconsistencies == 0


def test_what_does_not_fit_is_counted_and_told() -> None:
    shadow = _shadow(
        """
        0 ROOT_LEARN b=0x1000 level=1
        0 PTE_WRITE a=0x1000 c=0x7067 level=1
        0 PTE_WRITE a=0x1000 b=0x8067 c=0x9067 level=1
        0 PTE_WRITE a=0x6008 c=0x9067 level=1
        0 TABLE_UNLINK b=0x6000 level=1
        0 ROOT_LEARN b=0x1000 level=1
        """
    )
    assert shadow.inconsistencies == 4
    assert shadow.details[0] == (
        "event 3 (PTE_WRITE, slot PA 0x1000, level 1): "
        "the slot held 0x7067 and the write replaced 0x8067"
    )
    assert [detail.split("): ")[1] for detail in shadow.details[1:]] == [
        "its table is not known",
        "table 0x6000 was given up and never known",
        "table 0x1000 became reachable twice",
    ]


def test_a_walk_into_the_unknown_says_so() -> None:
    shadow = _shadow("0 ROOT_LEARN b=0x1000 level=4\n0 TABLE_SLOT a=0x1000 c=0x9067 level=4")
    assert shadow.walk(0x1000, 0) == Walk(0x9067, 4, None, known=False)


def test_loaded_roots_are_those_of_each_vcpu() -> None:
    shadow = _shadow(
        """
        0 ROOT_LOAD id=TTBR0 b=0x1000
        0 ROOT_LOAD id=TTBR1 b=0x2000
        1 ROOT_LOAD id=TTBR0 b=0x3000
        0 ROOT_LOAD id=TTBR0 b=0x4000
        """
    )
    assert shadow.loaded == {(0, 2): 0x4000, (0, 3): 0x2000, (1, 2): 0x3000}


def test_five_levels() -> None:
    va = 0x00AB_CDEF_0123_4567
    events = ["0 ROOT_LEARN b=0x10000 level=5"]
    for level in range(5, 0, -1):
        pa, below = 0x10000 * (6 - level), 0x10000 * (7 - level)
        events.append(f"0 TABLE_LINK b={pa} level={level}" if level < 5 else "# the root")
        events.append(
            f"0 PTE_WRITE a={pa + 8 * index_of(va, level)} c={below | 0x67} level={level}"
        )
    shadow = _shadow("\n".join(events))
    assert shadow.walk(0x10000, va) == Walk(0x60067, 1, 0x60567)


def test_blocks_of_arm64() -> None:
    shadow = Shadow(ARM64)
    shadow.apply(
        parse("0 ROOT_LEARN b=0x40000000 level=3\n0 TABLE_SLOT a=0x40000008 c=0x80000701 level=3")
    )
    assert shadow.walk(0x40000000, span_of(3) + 0x1234567).pa == 0x81234567


SMALL_ROOTS = """
0 ROOT_LEARN id=16 b=0x10080 level=5
0 TABLE_SLOT a=0x10080 c=0x20003 level=5
0 ROOT_LEARN id=16 b=0x10100 level=5
0 PTE_WRITE a=0x10178 c=0x30003 d=0xf000000000000 level=5
0 PTE_WRITE a=0x10080 b=0x20003 c=0x40003 level=5
"""


def test_roots_that_share_a_page() -> None:
    shadow = _shadow(SMALL_ROOTS)
    assert shadow.inconsistencies == 0
    assert shadow.root_slots == 16
    one, other = shadow.roots[0x10080].slots, shadow.roots[0x10100].slots
    assert (len(one), one[0], other[15]) == (16, 0x40003, 0x30003)
    # With 52 bits the kernel's addresses count from 0xfff0000000000000.
    assert shadow.walk(0x10100, 0xFFFF_8000_0000_0000).entry == 0x30003


def test_a_word_beside_small_roots_is_no_tables() -> None:
    shadow = _shadow(SMALL_ROOTS + "0 PTE_WRITE a=0x10000 c=0x40003 level=5")
    assert shadow.inconsistencies == 1
    assert "its table is not known" in shadow.details[0]


def test_a_page_of_small_roots_becomes_a_table() -> None:
    gone = "0 ROOT_FORGET b=0x10080\n0 ROOT_FORGET b=0x10100\n"
    shadow = _shadow(SMALL_ROOTS + gone + "0 TABLE_LINK b=0x10000 level=1\n")
    shadow.apply(parse("0 PTE_WRITE a=0x10178 c=0x5003 level=1"))
    assert shadow.inconsistencies == 0
    assert shadow.tables[0x10000].slots[0x178 // 8] == 0x5003


@pytest.mark.parametrize("claimed", [0, 1, 3, 17, 65535])
def test_other_sizes_are_not_believed(claimed: int) -> None:
    shadow = _shadow(f"0 ROOT_LEARN id={claimed} b=0x10000 level=4\n0 PTE_WRITE a=0x10ff8 c=1")
    assert len(shadow.roots[0x10000].slots) == 512


PAGES = st.sampled_from([0x1000, 0x2000, 0x3000, 0x7000])
INDEXES = st.sampled_from([0, 1, 2, 511])
VALUES = st.sampled_from([0, 0x5003, 0x5023, 0x5063, 0x5062, 0x6003, 0x8000000000005063])


class ShadowAgainstDict(RuleBasedStateMachine):
    """Events are applied in batches of any size; the model takes them one at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.shadow = Shadow(X86)
        self.model: dict[int, dict[int, int]] = {}
        self.odd = 0
        self.pending: list[tuple[Kind, int, int, int]] = []

    def _event(self, kind: Kind, a: int = 0, b: int = 0, c: int = 0) -> None:
        self.pending.append((kind, a, b, c))

    @rule(pa=PAGES, root=st.booleans())
    def link(self, pa: int, root: bool) -> None:
        self.odd += pa in self.model
        self.model[pa] = {}
        self._event(Kind.ROOT_LEARN if root else Kind.TABLE_LINK, b=pa)

    @rule(pa=PAGES, root=st.booleans())
    def unlink(self, pa: int, root: bool) -> None:
        self.odd += self.model.pop(pa, None) is None
        self._event(Kind.ROOT_FORGET if root else Kind.TABLE_UNLINK, b=pa)

    @rule(pa=PAGES, index=INDEXES, new=VALUES)
    def slot(self, pa: int, index: int, new: int) -> None:
        self.odd += pa not in self.model
        if pa in self.model:
            self.model[pa][index] = new
        self._event(Kind.TABLE_SLOT, pa + 8 * index, 0, new)

    @rule(pa=PAGES, index=INDEXES, new=VALUES, lie=st.one_of(st.none(), VALUES))
    def write(self, pa: int, index: int, new: int, lie: int | None) -> None:
        held = self.model.get(pa, {}).get(index, 0)
        old = held if lie is None else lie
        aside = (ACCESSED | DIRTY) if held & PRESENT else 0
        self.odd += pa not in self.model or (old | aside) != (held | aside)
        if pa in self.model:
            self.model[pa][index] = new
        self._event(Kind.PTE_WRITE, pa + 8 * index, old, new)

    @rule()
    def something_else(self) -> None:
        self._event(Kind.RET_USER, 0x1000, 1, 2)

    @precondition(lambda self: self.pending)
    @rule()
    def apply(self) -> None:
        events = np.zeros(len(self.pending), DTYPE)
        for i, (kind, a, b, c) in enumerate(self.pending):
            events[i]["kind"] = kind
            events[i]["a"], events[i]["b"], events[i]["c"] = a, b, c
            events[i]["level"], events[i]["seq"] = 1, i
        self.shadow.apply(events)
        self.pending.clear()

    @invariant()
    def agree(self) -> None:
        if self.pending:
            return
        assert self.shadow.tables.keys() == self.model.keys()
        for pa, held in self.model.items():
            slots = self.shadow.tables[pa].slots
            expected = np.zeros(512, np.uint64)
            for index, value in held.items():
                expected[index] = value
            assert np.array_equal(slots, expected)
        assert self.shadow.inconsistencies == self.odd


TestShadowAgainstDict = ShadowAgainstDict.TestCase
TestShadowAgainstDict.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
