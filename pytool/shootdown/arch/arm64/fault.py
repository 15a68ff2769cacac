"""What the syndrome of an abort says (Arm ARM, ESR_EL1, "ISS encoding for ... Data Abort")."""

from __future__ import annotations

from functools import cache
from typing import Final

from shootdown.arch.base import Access

_CLASS_SHIFT: Final = 26
_FETCH: Final = (0x20, 0x21)
"""Exception classes of instruction aborts, from a lower level and from the same one."""
_LOWER: Final = (0x20, 0x24)
"""Exception classes of aborts in user mode."""
_WRITE: Final = 1 << 6
"""WnR."""
_CACHE: Final = 1 << 8
"""CM: cache maintenance counts as a write there, and as a read for Linux
(arch/arm64/mm/fault.c, ``is_write_abort``)."""


@cache
def access(code: int) -> Access:
    """The access that faulted, from ESR_EL1."""
    kind = code >> _CLASS_SHIFT & 0x3F
    fetch = kind in _FETCH
    write = bool(code & _WRITE) and not code & _CACHE
    return Access(write=write and not fetch, user=kind in _LOWER, fetch=fetch)
