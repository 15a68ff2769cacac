"""What a plan is made of, where the architectures differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shootdown.errors import InfraError
from shootdown.trace.schema import Probe, Watch

if TYPE_CHECKING:
    from shootdown.kernel.facts import KernelFacts


@dataclass(frozen=True)
class Memory:
    """A capture of memory: a structure's member, the structure at an address in a register."""

    register: str
    member: str
    at: int = 0
    """Bytes from the member's start."""
    size: int = 8

    def text(self, facts: KernelFacts) -> str:
        """The capture, as the plan writes it. Raises InfraError when there is no such member."""
        offset = facts.member(self.member).offset + self.at
        return f"{self.register}+{offset:#x}:{self.size}"


@dataclass(frozen=True)
class ProbePoint:
    """A probe at the first instruction of a function."""

    probe: Probe
    function: str
    captures: tuple[str | Memory, ...]
    """In the order of ``schema.PROBE_TEXT``; a string is a register."""
    actions: tuple[str, ...] = ()
    """Beyond ``emit``, in the plan's grammar."""
    optional: bool = False

    def line(self, facts: KernelFacts) -> str:
        """The directive. Raises InfraError when the kernel lacks the function or a member."""
        captures = (c if isinstance(c, str) else c.text(facts) for c in self.captures)
        words = (f"{facts.va(self.function):#x}", str(int(self.probe)), "emit")
        return " ".join(("probe", *words, *self.actions, *captures))


@dataclass(frozen=True)
class PerCpuWord:
    """A watched member of a per-CPU structure."""

    watch: Watch
    variable: str
    member: str
    within: str = ""
    """A member of the variable that ``member`` is counted from; empty: the variable itself."""

    def line(self, facts: KernelFacts) -> str:
        """The directive. Raises InfraError when the kernel lacks a symbol or the member."""
        member = facts.member(self.member)
        # A per-CPU symbol is an offset already where its section is linked at zero, else a VA;
        # the words of __per_cpu_offset fit either, modulo 2**64.
        within = facts.member(self.within).offset if self.within else 0
        offset = (facts.va(self.variable) + within + member.offset) % (1 << 64)
        array = facts.va("__per_cpu_offset")
        return f"percpu_watch {int(self.watch)} {offset:#x} {member.size} {array:#x}"


@dataclass(frozen=True)
class Registers:
    """The C calling convention, in gdb's names."""

    stack: str
    arguments: tuple[str, ...]
    result: str


@dataclass(frozen=True)
class Spec:
    """One architecture's part of every plan."""

    linear: Callable[[KernelFacts, int], str]
    """From PA of the first byte of RAM: the VA of it in the linear map, a term."""
    image_pa: Callable[[KernelFacts, int], str]
    """From a VA in the kernel image: its PA, a term."""
    image_word: str
    """Symbol of the 64-bit word by which the kernel goes from the VAs of its image to PAs."""
    image_va: Callable[[int, int], int]
    """From a PA in the kernel image and that word: its VA, modulo 2**64."""
    kernel_root: str
    """Symbol of the kernel's root table."""
    slow_table: Callable[[KernelFacts], int]
    """VA of the fixmap's level-1 table."""
    registers: Registers
    """How functions are called."""
    probes: tuple[ProbePoint, ...]
    percpu: tuple[PerCpuWord, ...]
    ram_below: int
    """Bytes of RAM from which on QEMU's machine splits it in two."""


def switch(register: str) -> tuple[str | Memory, ...]:
    """Captures of TASK_SWITCH: the next task, in ``register``."""
    return (
        register,
        Memory(register, "task_struct.pid", size=4),
        Memory(register, "task_struct.tgid", size=4),
        Memory(register, "task_struct.mm"),
        Memory(register, "task_struct.comm"),
        Memory(register, "task_struct.comm", at=8),
        Memory(register, "task_struct.stack"),
    )


def mm_probes(first: str, second: str) -> tuple[ProbePoint, ...]:
    """Birth and death of address spaces; the registers of a function's two first arguments."""
    return (
        ProbePoint(Probe.MM_ALLOC, "pgd_alloc", (first,), (f"watch 1 {first}",)),
        ProbePoint(
            Probe.MM_FREE,
            "pgd_free",
            (first, second),
            (f"unwatch 1 {first}", f"forget_root {second}"),
        ),
    )


def single(tables: set[int], what: str) -> int:
    """The one element. Raises InfraError naming ``what`` when there are several."""
    if len(tables) != 1:
        raise InfraError(f"The kernel's {what} lies in several tables, which a plan cannot say.")
    return next(iter(tables))
