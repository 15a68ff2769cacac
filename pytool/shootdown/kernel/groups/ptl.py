"""Page-table locks: taken and given back, by whom.

A table of level 1 or 2 has a lock of its own in its struct page (``ptlock_ptr``,
include/linux/mm.h); without lock debugging it is a spinlock there, with it a pointer to one
(``ALLOC_SPLIT_PTLOCKS``, where a spinlock is larger than a word). Higher tables share
``mm->page_table_lock`` (``pud_lockptr``).
What is watched is the byte ``locked`` of the qspinlock (include/asm-generic/qspinlock_types.h): who
takes the lock sets it, by himself, and he clears it (kernel/locking/qspinlock.c).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from shootdown.errors import InfraError
from shootdown.kernel import page_structs
from shootdown.kernel.groups.base import Group, Set, Word
from shootdown.trace.schema import Watch

if TYPE_CHECKING:
    from shootdown.kernel.facts import KernelFacts

_OWN: Final = ("ptdesc.ptl", "page.ptl")
"""In this order: struct ptdesc came with Linux 6.6."""
_LEVELS: Final = 1 << 1 | 1 << 2
_WORD: Final = 8
_LOCKED: Final = ("spinlock.rlock", "raw_spinlock.raw_lock", "qspinlock.locked")


def _lines(facts: KernelFacts) -> Iterator[str]:
    """Where a table's own lock is."""
    member = next((name for name in _OWN if facts.has(name)), None)
    if member is None:
        raise InfraError(f"the kernel has no {' and no '.join(_OWN)}")
    inside = sum(facts.member(name).offset for name in _LOCKED)
    if inside:
        raise InfraError("a spinlock of the kernel does not begin with its locked byte")
    yield from page_structs.pages(facts)
    form = " pointer" if facts.member("spinlock").size > _WORD else ""
    offset = facts.member(member).offset
    yield f"table_lock {Watch.PTL:d} {offset:#x} 1 {_LEVELS:#x}{form}  # {member}"


GROUP: Final = Group(
    name="ptl",
    text="page-table locks: taken and given back, by whom",
    words=(Word(Watch.MM_PAGE_TABLE_LOCK, Set.MM, "mm_struct.page_table_lock", size=1, lock=True),),
    extra=_lines,
    more_watches=(Watch.PTL,),
    more_members=(*page_structs.MEMBERS, *_OWN, "spinlock", *_LOCKED),
    needs=(
        ("qspinlock.locked",),
        ("spinlock.rlock",),
        ("mem_section",),
        ("mm_struct.page_table_lock",),
    ),
)
