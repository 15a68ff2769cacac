"""What an architecture is to the rest of the tool: data, and a few small operations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from shootdown.arch.mmu import Mmu


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
