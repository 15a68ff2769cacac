"""The operation stack: mm functions as they are entered and left.

With it every PTE write and flush names the operation it belongs to, although most of the functions
that do the work are inlined. Those listed are out of line in at least one kernel; ``move_ptes``,
``zap_pte_range``, ``change_pte_range`` and the like are within what is listed.
"""

from __future__ import annotations

from typing import Final

from shootdown.kernel.groups.base import Group, Traced
from shootdown.trace.functions import Function

_NUMBERS: Final = (*range(99), *range(120, 138))
"""Operations, what takes translations away, x86's flushes, and faults."""

GROUP: Final = Group(
    name="functions",
    text="entry and exit of mm functions: which operation a write or flush belongs to",
    functions=tuple(Traced(function) for function in Function if function in _NUMBERS),
    needs=(("handle_mm_fault", "unmap_vmas", "change_protection"),),
)
