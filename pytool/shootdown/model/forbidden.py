"""User faults that a VMA forbade, and what that VMA was: it may be another one than was meant.

A look-up that succeeds returns with the VMA locked to read, or with mmap_lock. The stores of
whoever changes the VMA are numbered before the look-up has that lock, or behind its release: what
the steps of a VMA's life say at the number of the look-up's end is what the fault was judged by.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from shootdown.model.faults import Fault
from shootdown.model.history import History
from shootdown.model.vmas import Step

_ADDRESS: Final = (1 << 56) - 1
"""arm64: the byte above may be a tag, which the kernel takes off (untagged_addr)."""


class Forbidden(NamedTuple):
    """One such fault."""

    fault: Fault
    vma: Step
    """What was found, when it was found."""

    @property
    def why(self) -> str:
        """What is wrong with the VMA, in words that follow its name; empty for nothing."""
        if not self.vma.attached:
            return "was detached"
        if not self.vma.start <= self.fault.va & _ADDRESS < self.vma.end:
            return f"was from {self.vma.start:#x} to {self.vma.end:#x}"
        return ""


def forbidden(history: History) -> list[Forbidden]:
    """Every fault that found a VMA and was not handled; ``history``: of all kinds.

    VMAs whose birth was not seen are left out.
    """
    mine = [fault for fault in history.faults.faults if _is_forbidden(fault)]
    found = ((fault, history.vmas.at(fault.vma, fault.looked)) for fault in mine)
    return [Forbidden(fault, step) for fault, step in found if step is not None]


def _is_forbidden(fault: Fault) -> bool:
    if not fault.access.user or not fault.end or not fault.tries or not fault.tries[-1][1]:
        return False
    return not fault.attempts or fault.attempts[-1].seq < fault.looked
