"""What GUP does, as records: its runs, and the pages it takes and gives back."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from shootdown.trace.functions import Function

PIN: Final = ".FOLL_PIN"
GET: Final = ".FOLL_GET"
GRABS: Final = (
    Function.try_grab_page,
    Function.try_grab_folio,
    Function.try_grab_folio_fast,
)
"""Functions that take a page or folio, and return whether they could."""
ADDS: Final = (Function.folio_add_pin, Function.folio_add_pins)
"""Functions that pin what is pinned once more."""
SINGLE: Final = (Function.unpin_user_page, Function.unpin_user_folio, Function.unpin_folio)
"""Functions that give one folio back."""
UNPINS: Final = (
    *SINGLE,
    Function.unpin_user_pages,
    Function.unpin_user_pages_dirty_lock,
    Function.unpin_user_page_range_dirty_lock,
    Function.unpin_folios,
)
CALLS: Final = (
    Function["__get_user_pages"],
    Function.internal_get_user_pages_fast,
    Function.gup_fast_fallback,
)
"""What a ``Call`` is of."""
AROUND: Final = (
    *CALLS,
    Function["__gup_longterm_locked"],
    Function.pin_user_pages,
    Function.pin_user_pages_fast,
    Function.pin_user_pages_remote,
    Function.memfd_pin_folios,
    Function.get_user_pages,
    Function.get_user_pages_fast,
    Function.get_user_pages_remote,
    Function.iov_iter_extract_pages,
)
INNER: Final = (Function.gup_put_folio, Function.try_get_folio)
"""What the others may end with, by a jump."""
ALL: Final = (*AROUND, *GRABS, *ADDS, *UNPINS, *INNER)
WORD: Final = (1 << 64) - 1
HALF: Final = (1 << 32) - 1


@dataclass(slots=True)
class Pin:
    """A page or folio that was taken or given back."""

    seq: int
    icount: int
    pc: int
    cpu: int
    task: int
    """VA of the task_struct."""
    function: int
    event: str
    """``pin`` and ``unpin``; ``get`` and ``put`` for references without FOLL_PIN; ``none``: neither
    was asked for; ``failed``; ``unknown``: it ended by a jump to what was not recorded."""
    folio: int
    """VA of the struct page of the head."""
    refs: int
    flags: int
    by: int
    """The Function around it, the outermost that was recorded; 0 for none."""
    pins: int = 0
    """Pins of the folio after it, since recording began."""


@dataclass(slots=True)
class Call:
    """One run of GUP or GUP-fast."""

    seq: int
    icount: int
    pc: int
    cpu: int
    task: int
    function: int
    by: int
    mm: int
    """0 for GUP-fast, which works on the task's own."""
    start: int
    pages: int
    flags: int
    end: int = 0
    """Number of its end; 0 when that was not seen."""
    result: int = 0
    """Pages, or an error as a negative number."""


@dataclass
class Gup:
    """All of GUP in a trace."""

    calls: list[Call] = field(default_factory=list)
    pins: list[Pin] = field(default_factory=list)
    pin_flag: int = 0
    """FOLL_PIN; 0 when neither the types nor the trace tell, and no pin is known as one."""
    unpaired: int = 0
    """Ends without a beginning, and beginnings without an end."""

    def left(self) -> Counter[int]:
        """Folios that are still pinned at the end, by VA of the struct page, and how often."""
        last = {pin.folio: pin.pins for pin in self.pins if pin.event in ("pin", "unpin")}
        return Counter({folio: pins for folio, pins in last.items() if pins})


def head(page: int, words: tuple[int, ...]) -> int:
    """The head of a page, from the words that may name it (``_compound_head`` of page-flags.h).

    A tail's word has bit 0 set: it is the head's address plus one, or a mask that makes the head's
    address of the tail's, ones above zeros. A kernel that has no such word gives the page again.
    """
    for word in words:
        if word & 1:
            rest = ~word & WORD & ~1
            mask = rest & (rest + 2) == 0
            return page & word & ~1 if mask else word - 1
    return page
