"""What the kernel's own witnesses make of a phase, and how the three accounts compare.

The workload reports them as ``stat PHASE.WITNESS NUMBER``: the tracepoints ``mmap_lock:*``
(include/linux/mmap_lock.h) and ``tlb:tlb_flush`` (arch/x86/mm/tlb.c, ``flush_tlb_func()``),
/proc/self/pagemap and getrusage().
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

from shootdown.model.counting.figures import NAMES, Figures

WITNESSES: Final[Mapping[str, Callable[[Figures], int]]] = {
    # mm_account_fault() is not reached by a fault that is refused.
    "faults": lambda f: f.faults - f.refused,
    "present_before": lambda f: f.present_before,
    "present_after": lambda f: f.present_after,
    "pfn_changed": lambda f: f.pfn_changed,
    "target_present": lambda f: f.target_present,
    "lock_acquired_write": lambda f: f.write_acquired,
    # mmap_write_downgrade() says that the lock was acquired to read.
    "lock_acquired_read": lambda f: f.read_acquired + f.downgraded,
    "lock_released": lambda f: f.write_released + f.read_released,
    "tlb_flush_events": lambda f: f.requests,
    "tlb_flush_pages": lambda f: f.pages,
    "tlb_flush_full": lambda f: f.whole,
}
"""What each witness must have seen, from a phase's figures."""


class Difference(NamedTuple):
    """A figure about which two accounts differ."""

    phase: str
    figure: str
    account: str
    """Whose account differs from the derived one: "trace", or "witness"."""
    found: int
    derived: int

    def __str__(self) -> str:
        return (
            f"{self.phase}: {self.figure} is {self.found} by the {self.account}, "
            f"{self.derived} by the source"
        )


def differences(
    phase: str, traced: Figures, derived: Figures, stats: Mapping[str, str] | None = None
) -> Iterator[Difference]:
    """Where the accounts of a phase differ; ``stats`` are the workload's, when it reported them."""
    for name in NAMES:
        found, right = getattr(traced, name), getattr(derived, name)
        if found != right:
            yield Difference(phase, name, "trace", found, right)
    for witness, count in WITNESSES.items():
        text = (stats or {}).get(f"{phase}.{witness}")
        if text is not None and int(text) != count(derived):
            yield Difference(phase, witness, "witness", int(text), count(derived))


def missing(phase: str, stats: Mapping[str, str]) -> list[str]:
    """Witnesses that a phase has no report of."""
    return [witness for witness in WITNESSES if f"{phase}.{witness}" not in stats]
