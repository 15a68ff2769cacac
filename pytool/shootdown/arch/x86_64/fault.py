"""What the error code of a page fault says (Intel SDM volume 3, 4.7 "Page-Fault Exceptions")."""

from __future__ import annotations

from functools import cache

from shootdown.arch.base import Access


@cache
def access(code: int) -> Access:
    """The access that faulted; bit 1 is a write, bit 2 user mode, bit 4 an instruction fetch."""
    return Access(write=bool(code & 2), user=bool(code & 4), fetch=bool(code & 16))
