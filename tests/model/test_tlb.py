"""The store of stale entries; what ends their life is in the corpus of stale-after-return."""

import pytest

from shootdown.model.entries import Stale, Superseded
from shootdown.model.stream import Event
from shootdown.model.tlb import EVERYWHERE, Records
from shootdown.model.tlb_x86 import X86Tlb
from shootdown.trace.schema import FlushOp, Kind


def superseded(va: int, *, level: int = 1, table: bool = False, root: int = 0x10000) -> Superseded:
    size = 0x1000 << 9 * (level - 1)
    return Superseded(
        root=root,
        va=va,
        end=va + size,
        level=level,
        is_table=table,
        old=0x50067,
        new=0,
        target=0x50000,
        reason="unmapped",
        seq=1,
        icount=0,
        pc=0,
        cpu=0,
        task="",
        call=None,
        holders=(0,),
    )


def store(*stales: Stale) -> Records:
    records = Records()
    for stale in stales:
        records.add(stale)
    return records


def test_bounds_are_start_inclusive_and_end_exclusive():
    stale = Stale(0, 7, superseded(0x400000))
    records = store(stale)
    assert records.overlapping(0x10000, 0x3FF000, 0x400000) == []
    assert records.overlapping(0x10000, 0x401000, 0x402000) == []
    assert records.overlapping(0x10000, 0x400FFF, 0x401000) == [stale]
    assert records.overlapping(0x10000, 0, EVERYWHERE) == [stale]
    assert records.overlapping(0x20000, 0, EVERYWHERE) == []


def test_large_page_is_found_by_any_address_in_it():
    stale = Stale(0, 7, superseded(0x400000, level=2))
    assert store(stale).overlapping(0x10000, 0x5FF000, 0x600000) == [stale]
    assert store(stale).overlapping(0x10000, 0x3FF000, 0x400000) == []
    assert store(stale).overlapping(0x10000, 0x600000, 0x601000) == []


def test_take_ends_life_once_and_only_where_told():
    one, other_cpu, other_tag = (Stale(c, t, superseded(0)) for c, t in ((0, 7), (1, 7), (0, 8)))
    records = store(one, other_cpu, other_tag)
    assert records.take([(0, 7)]) == [one]
    assert (one.alive, other_cpu.alive, other_tag.alive) == (False, True, True)
    assert records.take([(0, 7)]) == []


def test_take_adds_table_pointers_of_any_address():
    page, table = Stale(0, 7, superseded(0)), Stale(0, 7, superseded(1 << 40, level=2, table=True))
    assert store(page, table).take([(0, 7)], 0, 0x1000) == [page]
    assert set(store(page, table).take([(0, 7)], 0, 0x1000, tables=True)) == {page, table}


def test_keys_by_cpu_and_tag():
    records = store(*(Stale(c, t, superseded(0)) for c, t in ((0, 7), (1, 7), (0, 8))))
    assert set(records.of(cpu=0)) == {(0, 7), (0, 8)}
    assert set(records.of(tag=7)) == {(0, 7), (1, 7)}
    assert records.of(cpu=1, tag=8) == []


def test_forget_takes_one_address_space():
    mine, other = Stale(0, 7, superseded(0)), Stale(0, 7, superseded(0, root=0x20000))
    assert store(mine, other).forget(0x10000) == [mine]
    assert other.alive


def test_page_of_a_superseded_leaf():
    what = superseded(0x400000, level=2)
    assert what.page(0x403456) == 0x53000


def test_what_is_taken_comes_in_the_order_it_was_superseded():
    later, high, low, table = (
        superseded(0x401000),
        superseded(0x403000),
        superseded(0x402000),
        superseded(0x600000, level=2, table=True),
    )
    later.seq, table.seq = 3, 2
    stales = [Stale(0, 7, what) for what in (later, table, high, low)]
    in_order = [stales[3], stales[2], stales[1], stales[0]]
    assert store(*stales).take([(0, 7)]) == in_order
    assert store(*stales).take([(0, 7)], 0x400000, 0x800000) == in_order
    assert store(*stales).take([(0, 7)], only=lambda stale: stale.what.seq < 3) == in_order[:3]


def test_nothing_is_left_behind_by_what_was_taken():
    """Whether there is any record is asked at every store."""
    page, wide = Stale(0, 7, superseded(0)), Stale(0, 7, superseded(0x200000, level=2))
    assert not store().any()
    for take in (
        lambda records: records.take([(0, 7)]),
        lambda records: records.take([(0, 7)], 0, 0x400000),
    ):
        records = store(page, wide)
        assert records.any()
        take(records)
        assert not records.any()
        assert records.of(cpu=0) == []


def test_a_page_of_its_own_among_others():
    stales = [Stale(0, 7, superseded(number << 12)) for number in range(4)]
    records = store(*stales)
    records.drop(stales[1:2])
    assert [stale.alive for stale in stales] == [True, False, True, True]
    assert records.overlapping(0x10000, 0x1000, 0x3000) == [stales[2]]
    assert records.overlapping(0x10000, 0, EVERYWHERE) == [stales[0], *stales[2:]]


@pytest.mark.parametrize("op", FlushOp)
def test_what_is_not_modelled_on_x86_removes_nothing(op: FlushOp):
    """It would be counted, and the run be inconclusive: the rest must not look flushed."""
    stale = Stale(0, 0x10000, superseded(0x400000))
    flush = Event(*(9, 0, 0, 0, 0, 0, 0), *(Kind.FLUSH, op, 0, 0, 0, 0), prev=8)
    taken = X86Tlb(store(stale)).flush(flush)
    assert taken == ([stale] if op in X86Tlb.modelled else [])


def test_order_is_by_store_and_cpu_whoever_came_first():
    late, here, there = (Stale(cpu, 7, superseded(0x400000)) for cpu in (0, 1, 2))
    late.what.seq = 2
    for records in (store(there, late, here), store(here, there, late)):
        assert records.overlapping(0x10000, 0, EVERYWHERE) == [here, there, late]
        assert records.of() == [(0, 7), (1, 7), (2, 7)]
