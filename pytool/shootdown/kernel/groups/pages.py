"""Life of page frames: given back to the allocator, and taken from it again.

The functions that do it are inlined into each other, differently in each kernel, so every function
is listed that hands frames over, where it begins or returns (mm/page_alloc.c): ``free_unref_page``,
``__free_frozen_pages`` and ``__free_pages_ok`` take a block, ``free_unref_folios`` a batch,
``free_unref_page_list`` a list; ``free_pages_prepare`` out of line is what compaction frees with.
A block is allocated when ``get_page_from_freelist`` returns one, or one of the functions around it;
the order is the second argument. ``post_alloc_hook`` and ``prep_new_page``, where they are called,
are those of compaction and of contiguous ranges too.

The plugin tells of frames that user memory or a page table was in since they were allocated, of
each once. hugetlb pages go back to their pool, not to the allocator (``free_huge_folio``): of them
the call is recorded.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from shootdown.kernel import page_structs
from shootdown.kernel.groups.base import Group, Traced
from shootdown.trace.functions import Function

if TYPE_CHECKING:
    from shootdown.kernel.facts import KernelFacts

_FREED: Final = tuple(
    Traced(function, at_entry=("freed {0} {1}",), silent=True)
    for function in (
        Function["free_unref_page"],
        Function["__free_pages_ok"],
        Function["free_frozen_pages"],
        Function["__free_frozen_pages"],
        Function["free_pages_prepare"],
    )
)
_ALLOCATED: Final = tuple(
    Traced(
        function,
        at_entry=("keep {stack} {1}",),
        at_return=("allocated {result} kept:{stack}",),
        silent=True,
    )
    for function in (
        Function["get_page_from_freelist"],
        Function["__alloc_pages"],
        Function["__alloc_pages_noprof"],
        Function["__alloc_frozen_pages_noprof"],
    )
)
_PREPARED: Final = tuple(
    Traced(function, at_entry=("allocated {0} {1}",), silent=True)
    for function in (Function["post_alloc_hook"], Function["prep_new_page"])
)
_NOLOCK: Final = Traced(
    Function["alloc_frozen_pages_nolock_noprof"],
    at_entry=("keep {stack} {2}",),
    at_return=("allocated {result} kept:{stack}",),
    silent=True,
)
_MANY: Final = (
    Traced(
        Function["free_unref_folios"],
        at_entry=("freed_array {0} {folio_batch.folios}",),
        silent=True,
    ),
    Traced(Function["free_unref_page_list"], at_entry=("freed_list {0} {page.lru}",), silent=True),
)
_BULK_NAMES: Final = ("alloc_pages_bulk_noprof", "__alloc_pages_bulk")
_BULK: Final = tuple(
    Traced(
        Function[name],
        at_entry=(f"keep {{stack}} {{{name}.page_array}}",),
        at_return=("allocated_array kept:{stack} {result}",),
        silent=True,
    )
    for name in _BULK_NAMES
)


def lines(facts: KernelFacts) -> Iterator[str]:
    """Where the frames' structures are, and how they say their order."""
    yield from page_structs.pages(facts)
    yield from page_structs.compound(facts)


LIFE: Final = (*_FREED, *_MANY, *_ALLOCATED, *_PREPARED, _NOLOCK, *_BULK)
"""What tells of frames, for other groups too that have ``lines``, ``MEMBERS`` and ``CONSTANTS``."""
MEMBERS: Final = (
    *page_structs.MEMBERS,
    "page.flags",
    "page.lru",
    *page_structs.ORDER,
    "folio_batch.folios",
)
CONSTANTS: Final = ("pageflags.PG_head", *(f"{name}.page_array" for name in _BULK_NAMES))
NEEDS: Final = (
    ("mem_section",),
    ("free_unref_page", "__free_frozen_pages"),
    ("free_unref_folios", "free_unref_page_list"),
    ("get_page_from_freelist",),
)

GROUP: Final = Group(
    name="pages",
    text="frames of user memory and page tables: freed to the allocator, allocated again",
    functions=(
        *LIFE,
        Traced(Function["free_huge_folio"], 1),
        Traced(Function["free_huge_page"], 1),
    ),
    extra=lines,
    more_members=MEMBERS,
    constants=CONSTANTS,
    needs=NEEDS,
)
