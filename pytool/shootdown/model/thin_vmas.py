"""Words of VMAs whose values nobody sees before they are overwritten, for ``thin``.

Who follows these words beyond ``Listener.begun`` is the rule ``flush-deadline`` (``VmaMap``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from shootdown.model.stream import Mask
from shootdown.trace.columns import Fields, any_of, are
from shootdown.trace.schema import Kind, Watch

_Numbers = npt.NDArray[np.uint64]

_PLACES: Final = (Watch.VMA_START, Watch.VMA_END, Watch.VMA_REFCNT, Watch.VMA_LOCK_SEQ)
_WORDS: Final = (*_PLACES, Watch.VMA_FLAGS)


class VmaWords:
    """Knows when, in a piece of the trace, somebody may look at a VMA."""

    def __init__(self, parts: Sequence[Fields], asks: Sequence[Mask], calm: Sequence[Mask]) -> None:
        """Of all vCPUs, with their ``asks`` and where they are calm (``thin_calm``)."""
        at = [_stores(part) for part in parts]
        self._asked: Final = _sorted(
            part["seq"][mask] for part, mask in zip(parts, asks, strict=True)
        )
        self._placed: Final = _sorted(
            part["seq"][rows[~quiet[rows] & any_of(part["id"][rows], _PLACES)]]
            for part, rows, quiet in zip(parts, at, calm, strict=True)
        )

    def quiet(self, part: Fields, calm: Mask) -> Mask:
        """The changes of one vCPU that are overwritten by itself before anybody looks.

        Proof: what ``VmaMap`` says is asked at stores that take something away, and at stores to
        the words of ``_PLACES``, of which it matters only whether the VMA is in the tree
        (``inside``), and that only when the storing task owes something: when it is not calm. A
        first value (WATCH_INIT) begins a VMA and so stays; nor does it put a VMA into the tree, and
        so it does not stand for a lock. ``vm_page_prot`` is followed by nobody.
        """
        found: Mask = are(part["id"], Watch.VMA_PAGE_PROT) & _watches(part)
        at = _stores(part)
        word, vma = part["id"][at], part["d"][at]
        order = np.lexsort((word, vma))
        at, word, vma = at[order], word[order], vma[order]
        this, behind = at[:-1], at[1:]
        same = (word[1:] == word[:-1]) & (vma[1:] == vma[:-1])
        same &= ~are(word[:-1], Watch.VMA_REFCNT)
        same &= are(part["kind"][this], Kind.WATCH)
        same &= calm[this] & _none_between(self._asked, part, this, behind)
        lock = are(word[:-1], Watch.VMA_LOCK_SEQ)
        stands = calm[behind] & are(part["kind"][behind], Kind.WATCH)
        same &= ~lock | (stands & _none_between(self._placed, part, this, behind))
        found[this[same]] = True
        return found


def _watches(part: Fields) -> Mask:
    return any_of(part["kind"], (Kind.WATCH, Kind.WATCH_INIT))


def _stores(part: Fields) -> npt.NDArray[np.intp]:
    """Where the part tells of these words."""
    return np.flatnonzero(_watches(part) & any_of(part["id"], _WORDS))


def _sorted(numbers: Iterable[_Numbers]) -> _Numbers:
    return np.sort(np.concatenate([np.zeros(0, np.uint64), *numbers]))


def _none_between(
    numbers: _Numbers, part: Fields, this: npt.NDArray[np.intp], behind: npt.NDArray[np.intp]
) -> Mask:
    seq = part["seq"]
    found: Mask = np.searchsorted(numbers, seq[this]) == np.searchsorted(numbers, seq[behind])
    return found
