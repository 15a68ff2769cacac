"""What a CPU may still cache: the superseded entries that no invalidation has removed yet.

A CPU may hold any valid entry that was in memory while its address space was loaded
(speculative walks included), until an invalidation that covers it. Entries that are still in
memory can do no harm, so only *superseded* ones are kept: a record comes to life at the store that
replaces the entry, once for each CPU and tag that may hold it, and ends with the invalidation's
true effect. Table pointers are kept too: a walk cache may lead through a table that is gone.

The tag tells one address space from another in a TLB: the root table without PCIDs on x86, the
ASID on arm64. Addresses of the kernel's half are the kernel's affair and are ignored here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter
from typing import ClassVar, Final

from shootdown.model.entries import Stale
from shootdown.model.pagetables import PAGE_SHIFT
from shootdown.model.stream import Event
from shootdown.trace.schema import FlushOp

EVERYWHERE: Final = 1 << 64
"""End (exclusive) of the range that holds every VA."""


class Tlb:
    """The stale entries of all CPUs; one class per architecture.

    The methods that take an event return the records whose life it ended.
    """

    modelled: ClassVar[frozenset[FlushOp]]
    """The invalidations whose effect it knows; others remove nothing."""

    def root_load(self, event: Event) -> list[Stale]:
        """A root register was loaded (ROOT_LOAD)."""
        raise NotImplementedError

    def flush(self, event: Event) -> list[Stale]:
        """An invalidation ran (FLUSH)."""
        raise NotImplementedError

    def barrier(self, event: Event) -> list[Stale]:
        """A barrier ran (BARRIER)."""
        raise NotImplementedError

    def fault(self, event: Event) -> list[Stale]:
        """A page fault was taken (Probe.FAULT)."""
        raise NotImplementedError

    def heeds_fault(self) -> bool:
        """Whether ``fault`` could end any life now."""
        raise NotImplementedError

    def root(self, cpu: int) -> int:
        """PA of the user root that is loaded on the CPU, 0 when unknown."""
        raise NotImplementedError

    def loaded(self, cpu: int, tag: int) -> bool:
        """Whether accesses by the CPU are translated under the tag now."""
        raise NotImplementedError

    def holders(self, root: int, valid_since: int) -> list[tuple[int, int]]:
        """CPU and tag wherever an entry below ``root``, valid since that number, may be cached."""
        raise NotImplementedError

    def forget(self, root: int) -> None:
        """The root table was given back."""
        raise NotImplementedError

    def remedy(self, stale: Stale) -> str:
        """The invalidation that would have removed the record, in words."""
        raise NotImplementedError


class _Book:
    """The records of one CPU and tag: pages by number, everything wider in a list."""

    def __init__(self) -> None:
        self.pages: Final[dict[int, list[Stale]]] = {}
        self.wide: Final[list[Stale]] = []

    def add(self, stale: Stale) -> None:
        what = stale.what
        if what.is_table or what.level > 1:
            self.wide.append(stale)
            return
        page = what.va >> PAGE_SHIFT
        mine = self.pages.get(page)
        if mine is None:
            self.pages[page] = [stale]
        else:
            mine.append(stale)

    def overlapping(self, start: int, end: int) -> Iterator[Stale]:
        first, last = start >> PAGE_SHIFT, (end - 1) >> PAGE_SHIFT
        if last - first < len(self.pages):
            numbers: Iterable[int] = range(first, last + 1)
        else:
            numbers = [n for n in self.pages if first <= n <= last]
        for number in numbers:
            yield from self.pages.get(number, ())
        yield from (s for s in self.wide if s.what.va < end and start < s.what.end)

    def tables(self) -> Iterator[Stale]:
        return (s for s in self.wide if s.what.is_table)

    def remove(self, stale: Stale) -> None:
        what = stale.what
        if what.is_table or what.level > 1:
            self.wide.remove(stale)
            return
        page = self.pages[what.va >> PAGE_SHIFT]
        page.remove(stale)
        if not page:
            del self.pages[what.va >> PAGE_SHIFT]


class Records:
    """All living records, found by CPU, tag and address."""

    def __init__(self) -> None:
        self._books: dict[tuple[int, int], _Book] = {}
        self._of_root: dict[int, int] = {}
        """How many there are of entries below a root, where there are any."""

    def add(self, stale: Stale) -> None:
        """Keep a record until it is taken."""
        key = stale.cpu, stale.tag
        book: _Book | None = self._books.get(key)
        if book is None:
            book = self._books[key] = _Book()
        book.add(stale)
        root = stale.what.root
        self._of_root[root] = self._of_root.get(root, 0) + 1

    def any(self, root: int | None = None) -> bool:
        """Whether there is one; when a root is given, of an entry below it."""
        return bool(self._of_root) if root is None else root in self._of_root

    def of(self, *, cpu: int | None = None, tag: int | None = None) -> list[tuple[int, int]]:
        """CPU and tag wherever there is a record, of one CPU or one tag when given; ascending."""
        if not self._books:
            return []
        return sorted(
            key
            for key in self._books
            if (cpu is None or key[0] == cpu) and (tag is None or key[1] == tag)
        )

    def overlapping(self, root: int, start: int, end: int) -> list[Stale]:
        """Records of entries below ``root`` for a VA in ``start``..``end`` (exclusive).

        By store, and those of one store by CPU.
        """
        if root not in self._of_root:
            return []
        found = [
            stale
            for book in self._books.values()
            for stale in book.overlapping(start, end)
            if stale.what.root == root
        ]
        if len(found) > 1:
            found.sort(key=_by_store)
        return found

    def take(
        self,
        keys: Iterable[tuple[int, int]],
        start: int = 0,
        end: int = EVERYWHERE,
        *,
        only: Callable[[Stale], bool] | None = None,
        tables: bool = False,
    ) -> list[Stale]:
        """End the life of what ``keys`` hold for ``start``..``end`` (exclusive), and return it.

        ``only`` chooses among the records; ``tables`` adds the table pointers of any address.
        """
        taken: list[Stale] = []
        whole = start == 0 and end == EVERYWHERE and only is None
        for key in keys:
            book: _Book | None = self._books.get(key)
            if book is None:
                continue
            if whole:
                taken += self._emptied(key)
                continue
            found = set(book.overlapping(start, end))
            if only is not None:
                found = {stale for stale in found if only(stale)}
            if tables:
                found.update(book.tables())
            for stale in found:
                book.remove(stale)
                self._end(stale)
            taken += sorted(found, key=_in_order)
            if not book.pages and not book.wide:
                del self._books[key]
        return taken

    def _emptied(self, key: tuple[int, int]) -> list[Stale]:
        """End the life of everything of one CPU and tag, and return it in the order of ``take``."""
        book: _Book = self._books.pop(key)
        found = list(book.wide)
        for page in book.pages.values():
            found += page
        for stale in found:
            self._end(stale)
        return found if _ordered(found) else sorted(found, key=_in_order)

    def drop(self, stales: Iterable[Stale]) -> None:
        """End the life of single records."""
        stale: Stale
        for stale in stales:
            book: _Book = self._books[stale.cpu, stale.tag]
            book.remove(stale)
            self._end(stale)

    def _end(self, stale: Stale) -> None:
        stale.alive = False
        root = stale.what.root
        left = self._of_root[root] - 1
        if left:
            self._of_root[root] = left
        else:
            del self._of_root[root]

    def forget(self, root: int) -> list[Stale]:
        """End the life of all records of entries below ``root``, and return them."""
        gone = self.overlapping(root, 0, EVERYWHERE)
        self.drop(gone)
        return gone


def _ordered(stales: list[Stale]) -> bool:
    """Whether all are of different stores, in their order: mostly they are."""
    stale: Stale
    before = -1
    for stale in stales:
        if stale.what.seq <= before:
            return False
        before = stale.what.seq
    return True


_in_order: Final = attrgetter("what.seq", "what.va")
_by_store: Final = attrgetter("what.seq", "what.va", "cpu", "tag")
