"""GUP: pages of user memory looked up, referenced and pinned by the kernel, and unpinned again.

Every grab goes through ``try_grab_folio`` and its like, every way back through ``gup_put_folio``
(mm/gup.c), but where the compiler has put that into its caller: then the caller's own arguments say
what is given back, and ``model/pins.py`` takes those. The head of a compound page is behind a word
of the page, which is captured with it. References taken with FOLL_GET are given back by
``put_page()``, which is not recorded. ``write_protect_seq`` is odd while ``copy_page_range()`` of a
fork write-protects: GUP-fast gives back what it pinned meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from shootdown.errors import InfraError
from shootdown.kernel import page_structs
from shootdown.kernel.groups.base import Group, Set, Traced, Word
from shootdown.kernel.inlined import Call
from shootdown.trace.functions import Function
from shootdown.trace.schema import Watch

if TYPE_CHECKING:
    from shootdown.kernel.facts import KernelFacts

FLAGS: Final = tuple(
    f".FOLL_{name}"
    for name in (
        *("WRITE", "GET", "DUMP", "FORCE", "NOWAIT", "NOFAULT", "HWPOISON", "ANON", "LONGTERM"),
        *("SPLIT_PMD", "PCI_P2PDMA", "INTERRUPTIBLE", "HONOR_NUMA_FAULT", "TOUCH", "TRIED"),
        *("REMOTE", "PIN", "FAST_ONLY", "UNLOCKABLE", "MADV_POPULATE"),
    )
)
"""Enumerators of enumerations without a name (include/linux/mm_types.h, mm/internal.h); up to 6.2
they are macros, which no types tell of."""
_HEAD: Final = ((0, "page.compound_head"), (0, "page.compound_info"))
"""Where a tail page says which page is its head."""


def _lines(facts: KernelFacts) -> Iterator[str]:
    """Where the structures are, so that a pinned page can be told to be that of an entry."""
    try:
        yield from page_structs.pages(facts)
    except InfraError:
        return  # pages are told of by their structures alone


GROUP: Final = Group(
    name="gup",
    text="GUP and GUP-fast calls, and each page referenced, pinned or unpinned",
    functions=(
        Traced(Function["__get_user_pages"], 4),
        Traced(Function.internal_get_user_pages_fast),
        Traced(Function.gup_fast_fallback),
        Traced(Function["__gup_longterm_locked"], 4),
        *(
            Traced(function)
            for function in (
                *(Function.pin_user_pages, Function.pin_user_pages_fast),
                *(Function.pin_user_pages_remote, Function.memfd_pin_folios),
                *(Function.get_user_pages, Function.get_user_pages_fast),
                *(Function.get_user_pages_remote, Function.iov_iter_extract_pages),
            )
        ),
        Traced(Function.try_grab_page, 2, _HEAD),
        # Of a folio until 6.1 and from 6.11 on; the one for GUP-fast takes a page.
        Traced(Function.try_grab_folio, 3, _HEAD),
        Traced(Function.try_grab_folio_fast, 3, _HEAD),
        # What those two end with where they take a plain reference: its result is theirs.
        Traced(Function.try_get_folio, 2),
        Traced(Function.folio_add_pin, 1),
        Traced(Function.folio_add_pins, 2),
        Traced(Function.gup_put_folio),
        Traced(Function.unpin_user_page, 1, _HEAD),
        Traced(Function.unpin_user_pages, 2),
        Traced(Function.unpin_user_pages_dirty_lock),
        Traced(Function.unpin_user_page_range_dirty_lock),
        Traced(Function.unpin_user_folio, 2),
        Traced(Function.unpin_folio, 1),
        Traced(Function.unpin_folios, 2),
    ),
    calls=(
        # Until 6.10 the slow path grabs pages, not folios.
        Call(
            ("try_grab_folio", "try_grab_page"),
            ("follow_page_pte", "follow_page_mask", "__get_user_pages"),
        ),
        Call(("unpin_user_pages",), ("unpin_user_pages_dirty_lock",)),
    ),
    needs=(
        ("__get_user_pages",),
        ("internal_get_user_pages_fast", "gup_fast_fallback"),
        ("try_grab_folio",),
        ("gup_put_folio",),
    ),
    words=(Word(Watch.MM_WRITE_PROTECT_SEQ, Set.MM, "mm_struct.write_protect_seq", size=4),),
    extra=_lines,
    more_members=page_structs.MEMBERS,
    constants=FLAGS,
)
