"""What every architecture says of the entries of its page tables."""

from __future__ import annotations


class Mmu:
    """What the bits of a page-table entry mean; 4 KiB granule.

    ``level`` 1 is the table whose entries map 4 KiB pages. ``entry`` is the raw 64-bit value.
    """

    levels: int
    """Levels of a user root table in the default profile."""

    def for_levels(self, levels: int) -> Mmu:
        """The MMU of a guest whose user root table has that many levels."""
        raise NotImplementedError

    def root(self, register: int) -> int:
        """PA of the root table that a translation register's raw value names."""
        raise NotImplementedError

    def valid(self, entry: int, level: int) -> bool:
        """Whether a CPU may cache the entry as a translation or table pointer."""
        raise NotImplementedError

    def table(self, entry: int, level: int) -> bool:
        """Whether the entry is valid and points to a lower table."""
        raise NotImplementedError

    def leaf(self, entry: int, level: int) -> bool:
        """Whether the entry is valid and maps memory."""
        raise NotImplementedError

    def target(self, entry: int, level: int) -> int:
        """PA the entry points to: of the lower table, or of the first mapped byte."""
        raise NotImplementedError

    def writable(self, entry: int, level: int) -> bool:
        """Whether a user store through the leaf needs no fault."""
        raise NotImplementedError

    def dirty(self, entry: int, level: int) -> bool:
        """Whether the leaf says that its page was stored to (``pte_dirty()``)."""
        raise NotImplementedError

    def permits(self, entry: int, level: int) -> frozenset[str]:
        """What user mode may do through the leaf: any of "read", "write", "exec"."""
        raise NotImplementedError

    def hardware_bits(self, entry: int, level: int) -> int:
        """Mask of bits the page walker may change without a store (accessed, dirty)."""
        raise NotImplementedError

    def same_translation(self, old: int, new: int, level: int) -> bool:
        """Whether two valid entries differ only in bits that no TLB entry depends on."""
        raise NotImplementedError

    def same_attributes(self, old: int, new: int, level: int) -> bool:
        """Whether two valid leaves agree in what is neither address nor permission, so far as a
        change of it has to be flushed without being a matter of ``needs_break``.
        """
        raise NotImplementedError

    def needs_break(self, old: int, old_level: int, new: int, new_level: int, bbm: int = 0) -> str:
        """What between two valid leaves forbids that a TLB sees both, in words; empty if nothing.

        Break-before-make: the old one must be gone from every TLB before the new one is written.
        ``bbm`` is the CPU's level of FEAT_BBM. Always empty on an architecture without that rule.
        """
        raise NotImplementedError

    def describe(self, entry: int, level: int) -> str:
        """The entry in words, bit by bit, for reports."""
        raise NotImplementedError
