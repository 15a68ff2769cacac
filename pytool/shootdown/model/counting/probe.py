"""What the derivation must know of a kernel, from its image and from its boot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from shootdown.errors import InfraError
from shootdown.model.counting.flushes import Traits
from shootdown.trace.schema import FlushOp, Kind, Mark
from shootdown.trace.types import Events


class Image(Protocol):
    """The kernel's memory, as it is before boot."""

    def word(self, va: int) -> int:
        """The 64-bit word at a VA. Raises InfraError."""
        ...


class Types(Protocol):
    """The kernel's types."""

    def enum(self, name: str) -> dict[str, int]:
        """The enumerators of an enum. Raises InfraError when there is none of that name."""
        ...


class Kernel(Protocol):
    """A kernel's facts."""

    @property
    def symbols(self) -> Mapping[str, int]:
        """VAs by name."""
        ...

    @property
    def image(self) -> Image:
        """Its memory."""
        ...

    @property
    def btf(self) -> Types:
        """Its types."""
        ...


def probe(kernel: Kernel, events: Events) -> Traits:
    """Look for everything by its presence. Raises InfraError when the image cannot be read.

    Each thing came with a kernel commit: per-VMA locks of faults with 5e31275cc997 (6.4), those
    of madvise with a6fde7add78d (6.17). The ceiling is a variable; only debugfs changes it.
    """
    ceiling = kernel.symbols.get("tlb_single_page_flush_ceiling")
    return Traits(
        vma_locks="lock_vma_under_rcu" in kernel.symbols,
        madvise_vma_lock="MADVISE_VMA_READ_LOCK" in _enumerators(kernel, "madvise_lock_mode"),
        ceiling=kernel.image.word(ceiling) if ceiling else 0,
        ranged=_ranged(events),
    )


def _enumerators(kernel: Kernel, enum: str) -> Mapping[str, int]:
    try:
        return kernel.btf.enum(enum)
    except InfraError:
        return {}


def _ranged(events: Events) -> bool:
    """Whether a range of user VAs was flushed with one TLBI before the workload began."""
    notes = events["seq"][(events["kind"] == Kind.MARK) & (events["id"] == Mark.NOTE)]
    flushes = (events["kind"] == Kind.FLUSH) & (events["id"] == FlushOp.TLBI_RANGE)
    before = events["seq"] < notes.min() if len(notes) else True
    return bool((flushes & before).any())
