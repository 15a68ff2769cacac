"""What the bits of an arm64 stage 1 descriptor mean: 4 KiB granule, 48-bit or 52-bit addresses.

Bit positions are the ``PTE_*``, ``PMD_*`` and ``PUD_*`` of
``arch/arm64/include/asm/pgtable-hwdef.h`` and ``pgtable-prot.h`` (6.1 and 6.12 agree on
all that the CPU looks at). They differ in how an entry is kept for software without
bit 0: 6.1 has ``PTE_PROT_NONE`` (58) and ``PMD_PRESENT_INVALID`` (59), 6.12 has
``PTE_PRESENT_INVALID`` (11); no CPU may cache either.

With 52 bits (FEAT_LPA2, TCR_EL1.DS; Arm ARM D8.3) the shareability field gives its place to the
address's bits 51:50, and bits 49:48 are where one expects them (``PTE_ADDR_HIGH`` in
``pgtable-hwdef.h``; ``__pte_to_phys``).

Levels count from the pages up, so level 1 here is the architecture's level 3.
"""

from __future__ import annotations

from typing import Final

from shootdown.arch.mmu import Mmu

VALID: Final = 1 << 0
TABLE: Final = 1 << 1  # PTE_TABLE_BIT: set in a level 1 page as well
ATTRINDX: Final = 0x7 << 2
TAGGED: Final = 0x1 << 2  # MT_NORMAL_TAGGED, which counts as a permission beside MT_NORMAL (0)
USER: Final = 1 << 6  # AP[1]
RDONLY: Final = 1 << 7  # AP[2]
SHARED: Final = 0x3 << 8
AF: Final = 1 << 10
NG: Final = 1 << 11
PRESENT_INVALID: Final = 1 << 11  # when not valid, since 6.12
GP: Final = 1 << 50
DBM: Final = 1 << 51  # PTE_WRITE
CONT: Final = 1 << 52
PXN: Final = 1 << 53
UXN: Final = 1 << 54
SW_DIRTY: Final = 1 << 55

ADDRESS: Final = (1 << 48) - (1 << 12)  # bits 47:12
SOFTWARE: Final = 1 << 63 | 0xF << 55  # PTE_SWBITS_MASK: 63 and 58:55

ADDRESS_LPA2: Final = (1 << 50) - (1 << 12)  # bits 49:12, and 51:50 in SHARED
_ANY_SIZE: Final = 2
"""Level of FEAT_BBM from which on a TLB may meet two sizes of one translation."""
_LPA2_LEVELS: Final = 5
"""No guest with 4 KiB pages has so many without FEAT_LPA2."""

# Of an entry that points to a table the CPU looks at the address, at bits 1:0 and at 63:59
# (NSTable, APTable, UXNTable, PXNTable).
_TABLE_BITS: Final = VALID | TABLE | ADDRESS | 0x1F << 59


class Arm64Mmu(Mmu):
    """``arch.mmu.Mmu`` for arm64.

    With ``hafdbs`` (FEAT_HAFDBS: the kernel sets TCR_EL1.HA and HD when the CPU has it,
    and QEMU's ``max`` does) the walker sets ``AF`` and clears ``RDONLY`` under ``DBM`` in
    memory, with no store anybody could see. An entry last *stored* with ``AF`` clear may
    then be cached all the same, as file pages are that fault-around mapped old
    (``arch_wants_old_prefaulted_pte()``), so it counts as valid. Without ``hafdbs`` it
    does not: its use faults.

    Entries are judged alone; Linux restricts user mode by leaves only, apart from
    ``PXNTable``, which does not concern it.
    """

    def __init__(self, levels: int = 4, *, hafdbs: bool = True) -> None:
        self.levels = levels
        self.hafdbs = hafdbs
        self._lpa2 = levels == _LPA2_LEVELS

    def for_levels(self, levels: int) -> Arm64Mmu:
        """The same with another number of levels: five come with 52-bit addresses."""
        return Arm64Mmu(levels, hafdbs=self.hafdbs)

    def root(self, register: int) -> int:
        """PA of the root table that TTBR0_EL1 or TTBR1_EL1 names.

        A root of 16 entries may lie on any 128 bytes, and BADDR's bits 5:2 are the PA's 51:48
        (``phys_to_ttbr``); else it fills a page. Above is the ASID, in bit 0 CnP.
        """
        if not self._lpa2:
            return register & ADDRESS
        return register & (1 << 48) - (1 << 7) | (register & 0x3C) << 46

    def valid(self, entry: int, level: int) -> bool:
        """Whether a CPU may cache the entry as a translation or table pointer."""
        return self.table(entry, level) or self.leaf(entry, level)

    def table(self, entry: int, level: int) -> bool:
        """Whether the entry is valid and points to a lower table."""
        return level > 1 and entry & (VALID | TABLE) == VALID | TABLE

    def leaf(self, entry: int, level: int) -> bool:
        """Whether the entry is valid and maps 4 KiB (level 1), 2 MiB (2) or 1 GiB (3)."""
        return _maps(entry, level) and (self.hafdbs or bool(entry & AF))

    def target(self, entry: int, level: int) -> int:
        """PA of the lower table or of the first mapped byte."""
        pa = entry & ADDRESS
        if self._lpa2:
            pa = entry & ADDRESS_LPA2 | (entry & SHARED) << 42
        if level > 1 and not entry & TABLE:
            pa &= -(1 << (12 + 9 * (level - 1)))
        return pa

    def writable(self, entry: int, level: int) -> bool:
        """Whether a user store through the leaf needs no fault.

        ``DBM`` makes a read-only leaf writable: the walker clears ``RDONLY`` at the first
        store (``pte_hw_dirty()`` in ``pgtable.h``).
        """
        return self.leaf(entry, level) and bool(entry & USER) and not self._read_only(entry)

    def dirty(self, entry: int, level: int) -> bool:
        """Whether the leaf says that its page was stored to, by software or by the walker.

        ``pte_sw_dirty()``, ``pte_hw_dirty()``.
        """
        return self.leaf(entry, level) and bool(entry & SW_DIRTY or entry & (DBM | RDONLY) == DBM)

    def permits(self, entry: int, level: int) -> frozenset[str]:
        """What user mode may do through the leaf: any of "read", "write", "exec".

        ``PAGE_EXECONLY`` gives "exec" alone.
        """
        if not self.leaf(entry, level):
            return frozenset()
        user = bool(entry & USER)
        given = (
            ("read", user),
            ("write", user and not self._read_only(entry)),
            ("exec", not entry & UXN),
        )
        return frozenset(word for word, allowed in given if allowed)

    def hardware_bits(self, entry: int, level: int) -> int:
        """``AF`` of a leaf, and ``RDONLY`` where ``DBM`` lets the walker clear it."""
        if not self.hafdbs or not self.leaf(entry, level):
            return 0
        return AF | RDONLY if entry & DBM else AF

    def same_translation(self, old: int, new: int, level: int) -> bool:
        """Whether two valid entries differ only in software, accessed and dirty bits.

        Follows ``PTE_SWBITS_MASK``. Dirty is ``RDONLY`` under ``DBM``: clean and dirty
        writable leaves are one translation, and so is a leaf writable without ``DBM``.
        """
        if self.table(old, level) and self.table(new, level):
            kept = _TABLE_BITS | (ADDRESS_LPA2 | SHARED if self._lpa2 else 0)
            return (old ^ new) & kept == 0
        return self._translation(old) == self._translation(new)

    def same_attributes(self, old: int, new: int, level: int) -> bool:
        """Always: what else differs is a matter of ``needs_break``."""
        return True

    def needs_break(self, old: int, old_level: int, new: int, new_level: int, bbm: int = 0) -> str:
        """What between two valid leaves forbids that a TLB sees both; empty if nothing.

        Arm ARM (DDI 0487) D8.16: size, contiguity, output address, memory type, shareability, and
        an entry that becomes global. Permissions, AF, DBM and software bits are free, as in
        ``pgattr_change_is_safe()`` (arch/arm64/mm/mmu.c). A CPU whose FEAT_BBM has level 2 takes a
        change of size or contiguity alone (D8.16.1, and ``system_supports_bbml2_noabort()``); level
        1 needs the bit nT for it, which Linux never sets, so it is like 0.
        """
        tolerant = bbm >= _ANY_SIZE
        if old_level != new_level and not tolerant:
            return "size"
        changed = old ^ new
        if not self._one_inside_the_other(old, old_level, new, new_level):
            return "output address"
        if changed & CONT and not tolerant:
            return "contiguous bit"
        if changed & ATTRINDX and (old | new) & ATTRINDX != TAGGED:
            return "memory type"
        if changed & SHARED:
            return "shareability"
        return "global" if old & ~new & NG else ""

    def _one_inside_the_other(self, old: int, old_level: int, new: int, new_level: int) -> bool:
        start, end = self.target(old, old_level), self.target(new, new_level)
        return (start ^ end) >> 12 + 9 * (max(old_level, new_level) - 1) == 0

    def describe(self, entry: int, level: int) -> str:
        """The entry in words, bit by bit."""
        if entry == 0:
            return "none"
        pa = self.target(entry, level)
        if self.table(entry, level):
            words = [f"table at PA {pa:#x}"]
            words += ["PXNTable"] if entry & 1 << 59 else []
            words += ["UXNTable"] if entry & 1 << 60 else []
        elif _maps(entry, level):
            words = [f"{_SIZES[level]} page at PA {pa:#x}", "user" if entry & USER else "kernel"]
            words += ["read-only" if self._read_only(entry) else "writable"]
            words += ["accessed" if entry & AF else "old"]
            words += [word for bit, word in _WORDS if entry & bit]
            words += [f"memory type {(entry & ATTRINDX) >> 2}"]
        elif entry & VALID:
            words = ["reserved encoding"]
        else:
            words = ["not valid: swap, migration, PROT_NONE or present-invalid"]
        return f"{entry:#x}: {', '.join(words)}"

    def _read_only(self, entry: int) -> bool:
        return bool(entry & RDONLY) and not (self.hafdbs and entry & DBM)

    def _translation(self, entry: int) -> int:
        kept = entry & ~(SOFTWARE | AF | RDONLY | DBM)
        return kept | (RDONLY if self._read_only(entry) else 0)


_SIZES: Final = {1: "4 KiB", 2: "2 MiB", 3: "1 GiB"}
_WORDS: Final = (
    (DBM, "DBM"),
    (UXN, "no user execute"),
    (PXN, "no kernel execute"),
    (NG, "not global"),
    (CONT, "contiguous"),
    (GP, "guarded"),
)


def _maps(entry: int, level: int) -> bool:
    # A block has bits 1:0 = 1 at levels 2 and 3; a page has 3 at level 1, where 1 is reserved.
    want = VALID | TABLE if level == 1 else VALID
    return level <= 3 and entry & (VALID | TABLE) == want


MMU: Final = Arm64Mmu()
"""The default profile: four levels, hardware accessed and dirty bits."""
