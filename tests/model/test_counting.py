"""Flushes of the counting guest, as read and as derived, without a guest."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shootdown.model.counting.figures import Figures
from shootdown.model.counting.flushes import Reader, Traits
from shootdown.model.counting.flushes_arm64 import Arm64Flushes
from shootdown.model.counting.flushes_x86 import X86Flushes
from shootdown.model.counting.witness import differences
from shootdown.model.stream import Event
from shootdown.trace.schema import BarrierOp, Flag, FlushOp, Kind, RootReg

TRAITS = Traits(vma_locks=True, madvise_vma_lock=False, ceiling=33, ranged=True)
ISHST, ISH, NSHST, NSH = 0xA, 0xB, 0x6, 0x7


def event(kind: Kind, number: int, a: int = 0, b: int = 0, flags: int = 0) -> Event:
    return Event(0, 0, 0, a, b, 0, 0, kind, number, 0, 0, 0, flags, 0)


def dsb(crm: int) -> Event:
    return event(Kind.BARRIER, BarrierOp.DSB, crm)


def tlbi(flags: int = 0) -> Event:
    return event(Kind.FLUSH, FlushOp.TLBI_VA, 0x1000, 0x2000, flags)


def read(reader: Reader, *events: Event | None) -> tuple[int, int, int]:
    """Requests, published and completed; None is a store."""
    for each in events:
        if each:
            reader.see(each, switching=False)
        else:
            reader.store()
    return reader.requests, reader.published, reader.completed


@pytest.mark.parametrize(
    ("events", "counts"),
    [
        ((None, dsb(ISHST), tlbi(), dsb(ISH)), (1, 1, 1)),
        ((None, dsb(ISHST), tlbi(), tlbi(), dsb(ISH)), (1, 1, 1)),
        ((None, tlbi(), dsb(ISH)), (1, 0, 1)),
        ((dsb(ISHST), None, tlbi(), dsb(ISH)), (1, 0, 1)),
        ((None, dsb(ISHST), tlbi()), (1, 1, 0)),
        ((None, dsb(ISHST), tlbi(), dsb(ISHST)), (1, 1, 0)),
        ((None, dsb(NSHST), tlbi(), dsb(NSH)), (1, 0, 0)),
        ((None, dsb(NSHST), tlbi(Flag.LOCAL), dsb(NSH)), (1, 1, 1)),
        ((None, dsb(ISHST), tlbi(Flag.LOCAL), tlbi(), dsb(NSH)), (1, 1, 0)),
        ((None, dsb(ISHST), tlbi(Flag.ALL_ASID), dsb(ISH)), (0, 0, 0)),
        ((None, dsb(ISHST), tlbi(), dsb(ISH), None, dsb(ISH), tlbi(), dsb(ISH)), (2, 2, 2)),
    ],
)
def test_arm64_barriers_around_invalidations(
    events: tuple[Event | None, ...], counts: tuple[int, int, int]
) -> None:
    assert read(Arm64Flushes().reader(), *events) == counts


def test_x86_requests() -> None:
    reader = X86Flushes().reader()
    page = event(Kind.FLUSH, FlushOp.INVLPG, 0x1000, 0x2000)
    kernel = event(Kind.FLUSH, FlushOp.INVLPG, 0xFFFF_C900_0000_0000, 0xFFFF_C900_0000_1000)
    cr3 = event(Kind.ROOT_LOAD, RootReg.CR3)
    read(reader, page, page, None, page, kernel, None, cr3)
    assert (reader.requests, reader.instructions, reader.pages, reader.whole) == (3, 4, 3, 1)
    assert reader.covered == {0x1000}
    reader.see(cr3, switching=True)
    assert reader.whole == 1


def test_x86_ceiling() -> None:
    flushes = X86Flushes()
    assert flushes.request(33, TRAITS) == Figures(requests=1, instructions=33, pages=33)
    assert flushes.request(34, TRAITS) == Figures(requests=1, instructions=1, whole=1)


def ascending(pages: int) -> int:
    """The loop of __flush_tlb_range() in 6.1, arch/arm64/include/asm/tlbflush.h."""
    operations = scale = 0
    while pages > 0:
        operations += 1
        if pages % 2 == 1:
            pages -= 1
            continue
        number = (pages >> (5 * scale + 1) & 31) - 1
        if number >= 0:
            pages -= (number + 1) << (5 * scale + 1)
        else:
            operations -= 1
        scale += 1
    return operations


def test_arm64_old_and_new_loops_need_as_many_operations() -> None:
    flushes = Arm64Flushes()
    for pages in range(1, 3000):
        assert flushes.request(pages, TRAITS).instructions == ascending(pages)
    for pages in (1, 16, 32, 48, 64):  # those of the workload
        assert flushes.request(pages, TRAITS).instructions == 1


def test_arm64_without_range_operations() -> None:
    traits = replace(TRAITS, ranged=False)
    assert Arm64Flushes().request(16, traits).instructions == 16


def test_differences_name_account_and_figure() -> None:
    traced, derived = Figures(added=3, faults=2), Figures(added=4, faults=2)
    found = list(differences("touch", traced, derived, {"touch.faults": "5"}))
    assert [str(difference) for difference in found] == [
        "touch: added is 3 by the trace, 4 by the source",
        "touch: faults is 5 by the witness, 2 by the source",
    ]
