"""What the bits of an x86-64 page-table entry mean, with 4 or 5 levels.

Bit positions are the ``_PAGE_BIT_*`` of ``arch/x86/include/asm/pgtable_types.h`` (6.1
and 6.12 agree). Not-present entries: ``PAGE_NONE`` and ``pmd_mkinvalid()`` clear
``_PAGE_PRESENT``, and ``pgtable-invert.h`` keeps the address of every non-zero
not-present entry inverted (L1TF). ``pmd_present()`` in ``pgtable.h`` says why
``_PAGE_PSE`` stays set while a huge page is being split: such an entry is present to
the kernel and not valid to the CPU.
"""

from __future__ import annotations

from typing import Final

from shootdown.arch.mmu import Mmu

PRESENT: Final = 1 << 0
RW: Final = 1 << 1
USER: Final = 1 << 2
PWT: Final = 1 << 3
PCD: Final = 1 << 4
ACCESSED: Final = 1 << 5
DIRTY: Final = 1 << 6
PSE: Final = 1 << 7  # levels 2 and 3; at level 1 the same bit is PAT
GLOBAL: Final = 1 << 8
PROTNONE: Final = 1 << 8  # when not present
PAT_LARGE: Final = 1 << 12
PKEY: Final = 0xF << 59
NX: Final = 1 << 63

ADDRESS: Final = (1 << 52) - (1 << 12)  # PTE_PFN_MASK: bits 51:12
# _PAGE_SOFTW1..3 (bits 11:9), and 58:52, which the CPU ignores too (SOFTW4 and SOFTW5 are 57, 58).
SOFTWARE: Final = 0x7 << 9 | 0x7F << 52

# In an entry that points to a table the CPU looks at nothing else.
_TABLE_BITS: Final = PRESENT | RW | USER | PWT | PCD | PSE | ADDRESS | NX


class X86Mmu(Mmu):
    """``arch.mmu.Mmu`` for x86-64.

    Entries are judged alone: that user mode may write through a leaf only when every
    level above has ``RW`` and ``USER`` is left out, because Linux sets both in all
    tables of user space (``_PAGE_TABLE``). Protection keys depend on PKRU and are left
    out of ``writable`` and ``permits`` too.
    """

    def __init__(self, levels: int = 4) -> None:
        self.levels = levels

    def for_levels(self, levels: int) -> X86Mmu:
        """The same with another number of levels: entries do not depend on it."""
        return X86Mmu(levels)

    def root(self, register: int) -> int:
        """PA of the root table that CR3 names: below are PCID or flags, above the no-flush bit."""
        return register & ADDRESS

    def valid(self, entry: int, level: int) -> bool:
        """Whether a CPU may cache the entry: ``_PAGE_PRESENT`` alone decides."""
        return bool(entry & PRESENT)

    def table(self, entry: int, level: int) -> bool:
        """Whether the entry is valid and points to a lower table."""
        return bool(entry & PRESENT) and level > 1 and not _large(entry, level)

    def leaf(self, entry: int, level: int) -> bool:
        """Whether the entry is valid and maps 4 KiB (level 1), 2 MiB (2) or 1 GiB (3)."""
        return bool(entry & PRESENT) and (level == 1 or _large(entry, level))

    def target(self, entry: int, level: int) -> int:
        """PA of the lower table or of the first mapped byte; a not-present address is as stored."""
        mask = ADDRESS
        if _large(entry, level):
            mask &= -(1 << (12 + 9 * (level - 1)))  # PHYSICAL_PMD_PAGE_MASK, ..._PUD_...
        return entry & mask

    def writable(self, entry: int, level: int) -> bool:
        """Whether a user store through the leaf needs no fault."""
        return self.leaf(entry, level) and entry & (RW | USER) == RW | USER

    def dirty(self, entry: int, level: int) -> bool:
        """Whether the leaf says that its page was stored to."""
        return self.leaf(entry, level) and bool(entry & DIRTY)

    def permits(self, entry: int, level: int) -> frozenset[str]:
        """What user mode may do through the leaf: any of "read", "write", "exec"."""
        if not self.leaf(entry, level) or not entry & USER:
            return frozenset()
        return frozenset(
            word
            for word, given in (("read", True), ("write", entry & RW), ("exec", not entry & NX))
            if given
        )

    def hardware_bits(self, entry: int, level: int) -> int:
        """Accessed in every valid entry, dirty in a leaf: the walker sets them without a store."""
        if not entry & PRESENT:
            return 0
        return ACCESSED | DIRTY if self.leaf(entry, level) else ACCESSED

    def same_translation(self, old: int, new: int, level: int) -> bool:
        """Whether two valid entries differ only in software, accessed and dirty bits.

        Follows ``pte_flags_need_flush()`` (``arch/x86/include/asm/tlbflush.h``), but for
        the *clearing* of dirty: the kernel flushes then, so as not to lose a later store,
        while the translation is the same.
        """
        if self.table(old, level) and self.table(new, level):
            return (old ^ new) & _TABLE_BITS == 0
        return (old ^ new) & ~(SOFTWARE | ACCESSED | DIRTY) == 0

    def same_attributes(self, old: int, new: int, level: int) -> bool:
        """Whether two leaves agree in memory type, protection key and being global.

        ``pte_flags_need_flush()`` flushes for a change of any of these bits in any direction.
        """
        pat = PSE if level == 1 else PAT_LARGE
        return (old ^ new) & (PWT | PCD | GLOBAL | PKEY | pat) == 0

    def needs_break(self, old: int, old_level: int, new: int, new_level: int, bbm: int = 0) -> str:
        """Nothing: x86 has no break-before-make (Intel SDM volume 3A, 4.10.4)."""
        return ""

    def describe(self, entry: int, level: int) -> str:
        """The entry in words, bit by bit."""
        if entry == 0:
            return "none"
        if not entry & PRESENT:
            return f"{entry:#x}: not present, {_absent(entry, level)}"
        kind = "table" if self.table(entry, level) else f"{_SIZES.get(level, 'bad')} page"
        words = [f"{kind} at PA {self.target(entry, level):#x}"]
        words += ["user" if entry & USER else "kernel", "writable" if entry & RW else "read-only"]
        words += ["no-execute"] if entry & NX else []
        words += [word for bit, word in _WORDS if entry & bit]
        if self.leaf(entry, level):
            words += ["dirty"] if entry & DIRTY else []
            words += ["global"] if entry & GLOBAL else []
            words += ["PAT"] if entry & (PSE if level == 1 else PAT_LARGE) else []
            words += [f"key {(entry & PKEY) >> 59}"] if entry & PKEY else []
        return f"{entry:#x}: {', '.join(words)}"


_SIZES: Final = {1: "4 KiB", 2: "2 MiB", 3: "1 GiB"}
_WORDS: Final = ((ACCESSED, "accessed"), (PWT, "write-through"), (PCD, "cache disabled"))


def _large(entry: int, level: int) -> bool:
    return level in (2, 3) and bool(entry & PSE)


def _absent(entry: int, level: int) -> str:
    address = ~entry & ADDRESS  # __pte_needs_invert()
    if entry & PROTNONE:
        return f"PROT_NONE or NUMA hint, page at PA {address & ~0xFFF:#x}"
    if level == 2 and entry & PSE:
        return f"invalid while split or moved, page at PA {address & -(1 << 21):#x}"
    return "swap, migration or other marker"


MMU: Final = X86Mmu()
"""The default profile: four levels."""
