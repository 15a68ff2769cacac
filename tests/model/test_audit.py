"""The audit agrees when it should, and tells of a planted difference and an unknown table."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from shootdown.arch.arm64 import mmu as arm64
from shootdown.arch.mmu import Mmu
from shootdown.arch.x86_64 import mmu as x86
from shootdown.model.audit import AuditReport, Root, audit
from shootdown.model.pagetables import Shadow, index_of
from shootdown.trace.text import parse

from .guest_ram import Ram

USER = 0x400000
STACK = 0x7FFFFFFFE000
WALKER = {"x86_64": x86.ACCESSED | x86.DIRTY, "arm64": arm64.AF}


@dataclass
class Guest:
    """A user root and its kernel root, both as recorded."""

    ram: Ram
    mmu: Mmu
    shadow: Shadow
    kernel: int
    user: int

    def audit(self) -> AuditReport:
        roots = [Root(self.kernel, 4, "kernel", "the kernel"), Root(self.user, 4, "user", "pid 1")]
        return audit(self.shadow, self.ram, roots, self.mmu)

    def slot(self, va: int, level: int = 1) -> int:
        """PA of the slot that maps ``va`` at ``level`` in the user root."""
        table = self.user
        for above in range(4, level, -1):
            entry = int(self.ram.pages[table][index_of(va, above)])
            table = self.mmu.target(entry, above)
        return table + 8 * index_of(va, level)

    def word(self, pa: int) -> int:
        return int(self.ram.table(pa & -4096)[pa % 4096 // 8])


@pytest.fixture(params=["x86_64", "arm64"])
def guest(request: pytest.FixtureRequest) -> Guest:
    mmu: Mmu = x86.MMU if request.param == "x86_64" else arm64.MMU
    ram = Ram(request.param, mmu)
    kernel, user = ram.page(), ram.page()
    ram.map(kernel, 0xFFFF_8880_0000_0000, 0x8000)
    for va in (USER, USER + 0x1000, STACK):
        ram.map(user, va, 0x9000)
    shadow = Shadow(mmu)
    shadow.apply(ram.events(kernel))
    shadow.apply(ram.events(user))
    return Guest(ram, mmu, shadow, kernel, user)


def test_agreement(guest: Guest) -> None:
    report = guest.audit()
    assert report.agrees
    assert report.details == []
    assert report.tables_checked == 4 + 7
    assert report.entries_checked == 11 * 512
    # The kernel's chain of 4; two chains that share only the user root; one page more.
    assert report.nonzero_checked == 4 + 4 + 4 + 1


def test_nothing_compared_is_no_agreement(guest: Guest) -> None:
    assert not audit(guest.shadow, guest.ram, [], guest.mmu).agrees


def test_the_walker_may_set_its_bits(guest: Guest) -> None:
    slot = guest.slot(USER)
    clean = guest.word(slot) & ~WALKER[guest.ram.arch]
    guest.ram.store(slot, clean)
    guest.shadow.tables[slot & -4096].slots[slot % 4096 // 8] = clean
    guest.ram.store(slot, clean | WALKER[guest.ram.arch])
    assert guest.audit().agrees


@pytest.mark.parametrize("bit", [0, 1, 7, 11, 12, 47, 52, 63])
@pytest.mark.parametrize("level", [1, 2])
def test_one_planted_difference(guest: Guest, bit: int, level: int) -> None:
    slot = guest.slot(USER, level)
    guest.shadow.tables[slot & -4096].slots[slot % 4096 // 8] ^= 1 << bit
    report = guest.audit()
    assert report.mismatches == 1
    assert not report.agrees
    assert len(report.details) == 1
    assert f"{slot & -4096:#x} (VA {USER:#x}, user root of pid 1)" in report.details[0]


def test_a_lost_store_that_clears(guest: Guest) -> None:
    guest.ram.store(guest.slot(USER), 0)
    report = guest.audit()
    assert (report.mismatches, report.unknown_tables) == (1, 0)
    assert "memory has none; the trace 0x9" in report.details[0]


def test_a_lost_link_is_a_mismatch_and_an_unknown_table(guest: Guest) -> None:
    guest.ram.map(guest.user, 0x4000000, 0xA000)  # its level 2 table exists already
    report = guest.audit()
    assert (report.mismatches, report.unknown_tables) == (1, 1)
    assert any("the trace does not know it" in detail for detail in report.details)


def test_a_root_that_was_never_learned(guest: Guest) -> None:
    stranger = guest.ram.page()
    guest.ram.map(stranger, USER, 0x9000)
    report = audit(guest.shadow, guest.ram, [Root(stranger, 4, "user", "pid 2")], guest.mmu)
    assert (report.unknown_tables, report.tables_checked) == (4, 0)
    assert report.mismatches == 0


def test_a_table_outside_ram_is_unknown(guest: Guest) -> None:
    slot = guest.slot(USER, 2)
    outside = 0x7000_0000 | guest.word(slot) & 0xFFF
    guest.ram.store(slot, outside)
    guest.shadow.tables[slot & -4096].slots[slot % 4096 // 8] = outside
    report = guest.audit()
    assert (report.mismatches, report.unknown_tables) == (0, 1)
    assert "outside RAM" in report.details[0]


def test_a_table_known_at_another_level_is_unknown(guest: Guest) -> None:
    guest.shadow.tables[guest.slot(USER) & -4096].level = 2
    report = guest.audit()
    assert report.unknown_tables == 1
    assert "the trace has it at level 2" in report.details[0]


def test_a_table_that_points_to_itself_ends(guest: Guest) -> None:
    slot = guest.user + 8 * 511
    entry = guest.user | (guest.word(guest.slot(USER, 4)) & 0xFFF)
    guest.ram.store(slot, entry)
    guest.shadow.tables[guest.user].slots[511] = entry
    report = guest.audit()
    assert report.tables_checked == 11
    assert f"PA {guest.user:#x}" in report.details[0]
    assert "the trace has it at level 4" in report.details[0]


def test_details_are_few(guest: Guest) -> None:
    table = guest.shadow.tables[guest.slot(USER) & -4096]
    table.slots[:] ^= 1 << 40
    report = guest.audit()
    assert report.mismatches == 512
    assert len(report.details) == 20


def test_a_root_within_a_page() -> None:
    """arm64 with 52-bit addresses: 16 entries, and a page that others use as well."""
    mmu = arm64.Arm64Mmu(5)
    ram = Ram("arm64", mmu)
    frame, below, other = ram.page(), ram.page(), ram.page()
    root = frame + 0x780
    ram.store(root + 8 * 15, below | 3)
    ram.store(frame + 0x700, other | 3)  # another's
    shadow = Shadow(mmu)
    shadow.apply(
        parse(
            f"0 ROOT_LEARN id=16 b={root} level=5\n"
            f"0 TABLE_SLOT a={root + 120} c={below | 3} level=5\n"
            f"0 TABLE_LINK a={root + 120} b={below} d={root} level=4"
        )
    )
    roots = [Root(root, 5, "kernel", "the kernel", 16)]
    report = audit(shadow, ram, roots, mmu)
    assert report.agrees, report.details
    assert (report.tables_checked, report.entries_checked) == (2, 16 + 512)
    ram.store(root + 8 * 14, below | 3)
    report = audit(shadow, ram, roots, mmu)
    assert report.mismatches == 1
    assert f"level 5 table at PA {root:#x} (VA 0xfffe000000000000," in report.details[0]
    wrong = audit(shadow, ram, [Root(root, 5, "user", "pid 1")], mmu)
    assert wrong.unknown_tables == 2  # and what the other one in the page points to
    assert "the trace has it with 16 slots" in wrong.details[0]
