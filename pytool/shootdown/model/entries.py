"""Entries that stores took away, the CPUs that may still have them, and the calls that did it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from shootdown.model.pagetables import PAGE_SIZE


@dataclass(slots=True, eq=False)
class Call:
    """A system call, from its entry on.

    ``root`` is the PA of the user root table loaded at entry, ``task`` the task_struct, ``end`` the
    number of the first return to user mode (0 until then) and ``result`` what it returned.
    """

    name: str
    args: list[int]
    seq: int
    cpu: int
    root: int
    task: int
    end: int = 0
    result: int = 0
    back: int = 0
    """VA of the instruction behind it; 0 when the trace does not tell."""
    told: bool = True
    """Whether it is known what it returned: not so where it did not return to ``back``, but to a
    signal's handler, whose argument is in the register then, or to be done again."""
    took: list[Superseded] = field(default_factory=list)
    """What the calling task took away while the call was open."""
    operation: str | None = None
    """What ``syscalls.operation`` has said, for the arguments known so far."""

    def add(self, *args: int) -> None:
        """Further arguments."""
        self.args += args
        self.operation = None

    def ends(self, seq: int, result: int, pc: int) -> None:
        """It is over: the CPU is about to run user code at a VA (0: not known)."""
        self.end, self.result = seq, result
        self.told = 0 in (pc, self.back) or pc == self.back

    def arg(self, number: int) -> int:
        """One argument, 0 when it was not recorded."""
        return self.args[number] if number < len(self.args) else 0


Reason = Literal["unmapped", "replaced", "permission", "table"]
"""Why an entry counts as superseded: it is gone, points elsewhere, permits less, or hung below
a table that was unlinked."""


@dataclass(slots=True, eq=False)
class Superseded:
    """A valid entry of user space that a store took away.

    ``va``..``end`` (exclusive) is what it translated; ``old`` and ``new`` are the raw entries;
    ``target`` is the PA of the first mapped byte, or of the table it pointed to. ``seq``,
    ``icount``, ``pc`` and ``cpu`` are those of the store; ``task`` names who ran there and ``call``
    is its open system call, ``stack`` the functions it was inside of (``callstack``), the outermost
    first, where the trace says. ``holders`` are the CPUs that may have a copy. ``restored`` says
    that the same translation came back before anybody could miss it.
    """

    root: int
    va: int
    end: int
    level: int
    is_table: bool
    old: int
    new: int
    target: int
    reason: Reason
    seq: int
    icount: int
    pc: int
    cpu: int
    task: str
    call: Call | None
    holders: tuple[int, ...]
    stack: tuple[int, ...] = ()
    restored: bool = False

    @property
    def shared(self) -> bool:
        """Whether a CPU other than that of the store may have a copy."""
        return self.reaches(self.cpu)

    def reaches(self, cpu: int) -> bool:
        """Whether another CPU than this one may have a copy."""
        return self.holders.count(cpu) != len(self.holders)

    def page(self, va: int) -> int:
        """PA of the page that ``va`` had through the old leaf."""
        return (self.target + (va - self.va)) & -PAGE_SIZE


@dataclass(slots=True, eq=False)
class Stale:
    """One CPU's possible copy of a superseded entry, under one tag."""

    cpu: int
    tag: int
    what: Superseded
    alive: bool = True
