"""What an architecture is to the rest of the tool: data, and a few small operations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol


@dataclass(frozen=True)
class Machine:
    """How QEMU emulates the architecture, and what a kernel is told on its command line."""

    qemu: str
    """Name of the emulator program."""
    debian: str
    """Debian's name of the architecture, as in package names."""
    compiler: str
    """C compiler that builds guest programs."""
    args: tuple[str, ...]
    """QEMU arguments that every run gets, without CPU model, memory and vCPU count."""
    cpu: tuple[str, ...]
    """QEMU's CPU model and its properties, in the default profile."""
    console: str
    """Kernel console device of the first serial port."""
    agent: str
    """Guest device of the agent's channel, below /dev."""
    cmdline: tuple[str, ...]
    """Kernel arguments of the default profile."""
    ram_base: int
    """PA of the first byte of RAM."""
    gdb: str
    """gdb's name of the architecture."""
    elf_machine: int
    """e_machine of guest programs."""


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A named configuration of guest and CPU that differs from the default one.

    The mappings go from a word of the default to the words that stand in its place, in order.
    """

    about: str
    """What the guest does then, for people."""
    cmdline: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Kernel arguments."""
    cpu: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Properties of the CPU model."""
    args: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """QEMU arguments."""


class Mmu(Protocol):
    """What the bits of a page-table entry mean; 4 KiB granule.

    ``level`` 1 is the table whose entries map 4 KiB pages. ``entry`` is the raw 64-bit value.
    """

    levels: int
    """Levels of a user root table in the default profile."""

    def for_levels(self, levels: int) -> Mmu:
        """The MMU of a guest whose user root table has that many levels."""
        ...

    def root(self, register: int) -> int:
        """PA of the root table that a translation register's raw value names."""
        ...

    def valid(self, entry: int, level: int) -> bool:
        """Whether a CPU may cache the entry as a translation or table pointer."""
        ...

    def table(self, entry: int, level: int) -> bool:
        """Whether the entry is valid and points to a lower table."""
        ...

    def leaf(self, entry: int, level: int) -> bool:
        """Whether the entry is valid and maps memory."""
        ...

    def target(self, entry: int, level: int) -> int:
        """PA the entry points to: of the lower table, or of the first mapped byte."""
        ...

    def writable(self, entry: int, level: int) -> bool:
        """Whether a user store through the leaf needs no fault."""
        ...

    def dirty(self, entry: int, level: int) -> bool:
        """Whether the leaf says that its page was stored to (``pte_dirty()``)."""
        ...

    def permits(self, entry: int, level: int) -> frozenset[str]:
        """What user mode may do through the leaf: any of "read", "write", "exec"."""
        ...

    def hardware_bits(self, entry: int, level: int) -> int:
        """Mask of bits the page walker may change without a store (accessed, dirty)."""
        ...

    def same_translation(self, old: int, new: int, level: int) -> bool:
        """Whether two valid entries differ only in bits that no TLB entry depends on."""
        ...

    def same_attributes(self, old: int, new: int, level: int) -> bool:
        """Whether two valid leaves agree in what is neither address nor permission, so far as a
        change of it has to be flushed without being a matter of ``needs_break``.
        """
        ...

    def needs_break(self, old: int, old_level: int, new: int, new_level: int, bbm: int = 0) -> str:
        """What between two valid leaves forbids that a TLB sees both, in words; empty if nothing.

        Break-before-make: the old one must be gone from every TLB before the new one is written.
        ``bbm`` is the CPU's level of FEAT_BBM. Always empty on an architecture without that rule.
        """
        ...

    def describe(self, entry: int, level: int) -> str:
        """The entry in words, bit by bit, for reports."""
        ...


class Access(NamedTuple):
    """What an access that faulted was."""

    write: bool
    user: bool
    """Whether user mode did it; else the kernel."""
    fetch: bool
    """Whether it was an instruction fetch."""


@dataclass(frozen=True)
class Kernel:
    """Facts about Linux on the architecture that no BTF or symbol tells."""

    syscalls: dict[str, int]
    """Numbers of the system calls the tool speaks of."""
    syscall_fail_from: int
    """Smallest value of the result register, unsigned, that means an error (-4095)."""


@dataclass(frozen=True)
class Arch:
    """One architecture."""

    name: str
    machine: Machine
    mmu: Mmu
    kernel: Kernel
    profiles: Mapping[str, Profile]
    """By name."""
