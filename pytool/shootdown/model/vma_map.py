"""Which VMA an address belongs to, followed while the trace is fed (event group ``vmas``).

VMAs that munmap has taken out of the tree are found too, since their pages go later. Two may then
claim an address; the one whose range was written last is the right one. A VMA that was there before
recording began is not known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from shootdown.model.stream import Event
from shootdown.trace.functions import Function
from shootdown.trace.schema import Kind, Watch

WORDS: Final = (Watch.VMA_START, Watch.VMA_END, Watch.VMA_MM, Watch.VMA_FLAGS)

DEATHS: Final = (Function.vm_area_free, Function["__vm_area_free"])


@dataclass(slots=True)
class Vma:
    """A VMA: VAs in bytes, ``end`` exclusive; ``flags`` are vm_flags."""

    start: int = 0
    end: int = 0
    mm: int = 0
    flags: int = 0
    inside: bool = False
    """Whether it has been in the tree of VMAs, as whoever follows that has noted."""


class VmaMap:
    """All VMAs that the trace has told of."""

    def __init__(self) -> None:
        self._all: dict[int, Vma] = {}
        self._of_mm: dict[int, dict[int, Vma]] = {}
        """By mm its VMAs, those whose range was written last at the end."""
        self._last: dict[int, Vma] = {}
        """By mm, what was found last, if all of its range is its own."""

    def tell(self, event: Event) -> None:
        """A WATCH or WATCH_INIT of one of ``WORDS``."""
        base = event.d
        vma = self._all.get(base)
        if vma is None:
            if event.kind != Kind.WATCH_INIT:
                return  # from 6.4 to 6.14 a dead one's words serve its RCU callback
            vma = self._all[base] = Vma()
        self._last.pop(vma.mm, None)
        if event.id == Watch.VMA_FLAGS:
            vma.flags = event.c
            return
        known = self._of_mm.get(vma.mm, {}).pop(base, None)
        match event.id:
            case Watch.VMA_START:
                vma.start = event.c
            case Watch.VMA_END:
                vma.end = event.c
            case Watch.VMA_MM:
                known, vma.mm = vma, event.c
                self._last.pop(vma.mm, None)
        if known:
            self._of_mm.setdefault(vma.mm, {})[base] = vma

    def died(self, base: int) -> None:
        """The VMA at an address of the kernel was freed (``DEATHS``)."""
        vma = self._all.pop(base, None)
        if vma is not None:
            self._of_mm.get(vma.mm, {}).pop(base, None)
            self._last.pop(vma.mm, None)

    def of(self, base: int) -> Vma | None:
        """The VMA at an address of the kernel."""
        return self._all.get(base)

    def at(self, mm: int, va: int) -> Vma | None:
        """The VMA of the mm that ``va`` belongs to; None when it is not known."""
        last = self._last.get(mm)
        if last is not None and last.start <= va < last.end:
            return last
        later: list[Vma] = []
        for vma in reversed(self._of_mm.get(mm, {}).values()):
            if vma.start <= va < vma.end:
                if not any(one.start < vma.end and vma.start < one.end for one in later):
                    self._last[mm] = vma
                return vma
            later.append(vma)
        return None
