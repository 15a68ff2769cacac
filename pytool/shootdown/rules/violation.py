"""What is told of one violation."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from shootdown.model.entries import Superseded

Kind: TypeAlias = Literal["may", "witness"]
"""A CPU may still hold what it must not, or it was seen using it."""


@dataclass(frozen=True)
class Holder:
    """A CPU that may hold a superseded entry, or used it, and what it was doing then."""

    cpu: int
    task: str
    stack: tuple[int, ...]
    """Functions that it was inside of (``trace.functions``), the outermost first."""


@dataclass(frozen=True)
class Invalidation:
    """An invalidation that ran: ``schema.FlushOp``, or the load of a root register."""

    seq: int
    cpu: int
    """The CPU that issued it."""
    operation: str
    start: int
    """First VA of its range."""
    end: int
    """End of its range, exclusive; 0 when it is everything."""
    asid: int
    """arm64: the address space it is for; 0 when for any."""
    local: bool
    """Whether it is for its CPU alone; else it is broadcast."""
    dsb_before: int
    """arm64: number of the last DSB before it, of the same CPU and behind the store, that makes
    stores visible to the table walkers it reaches; 0 when there was none."""
    dsb_after: int
    """arm64: number of the DSB that completed it in time, 0 when none did."""


@dataclass(frozen=True)
class Violation:
    """One finding. ``mm`` is the VA of the mm_struct (or the root's PA when that is not known)."""

    rule: str
    kind: Kind
    arch: str
    mm: int
    va: int
    cpus: list[int]
    """CPUs that may hold, or used, the stale entry."""
    site: str
    """The system call that took the entry away, or ``background``."""
    summary: str
    fingerprint: str
    """Equal for the same defect in another run: made of no address, number or seed."""
    seq: list[int]
    """Numbers of the events it rests on, in order."""
    pc: int
    """VA of the store that superseded the entry."""
    operation: str
    """The operation whose deadline was missed."""
    task: str
    cpu: int
    """Where the store was made, by ``task`` and inside of ``stack``."""
    level: int
    before: int
    """The superseded entry, raw."""
    after: int
    """What replaced it, raw."""
    missing: str
    """The flush that should have been there."""
    stack: tuple[int, ...] = ()
    """Functions that the store was inside of (``trace.functions``), the outermost first."""
    holders: tuple[Holder, ...] = ()
    """CPUs that may hold the entry, or used it, at the moment of the finding: the deadline that was
    missed, or the access. Empty where the finding is not about what CPUs hold."""
    came: tuple[Invalidation, ...] = ()
    """Invalidations between the store and the moment of the finding, in order; looked for where
    there are holders, for the first finding of each fingerprint (``evidence``)."""
    came_others: int = 0
    """How many more there were."""
    workload: str = ""
    """Phase of the guest (Mark.BEGIN) in which it was found."""
    count: int = 1
    """Stale copies (of pages, on CPUs) that this finding stands for."""
    details: dict[str, object] = field(default_factory=dict)


def fingerprint(*words: str) -> str:
    """Twelve hex digits of what tells a defect from others in any run or build."""
    return hashlib.sha256("|".join(words).encode()).hexdigest()[:12]


def shape(what: Superseded) -> tuple[str, str, str]:
    """What tells one superseded entry from others: the call, the reason and the kind of entry."""
    site = what.call.name if what.call else "background"
    return site, what.reason, f"level {what.level}{' table' if what.is_table else ''}"
