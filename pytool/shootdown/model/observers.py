"""What other threads saw of a range while a system call was changing it.

For every access and fault in the range of an open call (from its entry to its return), by name of
the thread (Mark.THREAD, else its comm) that ran on the CPU:

* *old*: the page that was there when the call began, or came before it took anything away;
* *stale*: that page, although the entry for it had certainly been taken away before;
* *new*: another page than that, as may be once the call has let go of its lock;
* *fault*: a page fault.

Accesses are counted as recorded: equal ones in a row are one record.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from typing import Final

from shootdown.model.entries import Call, Stale, Superseded
from shootdown.model.listener import Listener
from shootdown.model.machine import Machine
from shootdown.model.pagetables import PAGE_SHIFT, PAGE_SIZE, span_of
from shootdown.model.space import Leaf
from shootdown.model.stream import Event
from shootdown.model.syscalls import area, operation


class _Change:
    def __init__(self, call: Call, operation: str, start: int, end: int) -> None:
        self.call: Final = call
        self.operation: Final = operation
        self.start: Final = start
        self.end: Final = end
        self.before: Final[dict[int, int | None]] = {}
        """PA by page number, until the call takes anything away."""
        self.taken: Final[dict[int, int]] = {}
        """Number of the store that superseded a page's entry, by page number."""

    def pages(self, start: int, end: int) -> list[int]:
        """The pages of ``before`` that are in ``start``..``end`` (VA, exclusive)."""
        first, last = start >> PAGE_SHIFT, (end - 1) >> PAGE_SHIFT
        if first == last:
            return [first] if first in self.before else []
        return [page for page in self.before if first <= page <= last]


class Observers(Listener):
    """Watches on a machine; ``seen`` has counts by operation and thread.

    ``pages`` are the numbers of the pages (VA >> 12) that are watched.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine: Final = machine
        self._open: dict[Call, _Change] = {}
        self.seen: Final[dict[str, dict[str, Counter[str]]]] = {}

    def entered(self, call: Call, event: Event) -> None:
        """Remember what the range maps to."""
        name = operation(call)
        start, end = area(call)
        known = self._machine.pages
        first = bisect_left(known, start >> PAGE_SHIFT)
        pages = known[first : bisect_left(known, end >> PAGE_SHIFT)]
        if name and pages:
            change = self._open[call] = _Change(call, name, start, end)
            space = self._machine.space
            for page in pages:
                change.before[page] = space.translate(call.root, page << PAGE_SHIFT)

    def returned(self, call: Call, event: Event) -> None:
        """The call is over."""
        self._open.pop(call, None)

    def forgotten(self, root: int) -> None:
        """Nobody in the address space will return."""
        self._open = {call: change for call, change in self._open.items() if call.root != root}

    def superseded(self, what: Superseded, stales: Sequence[Stale]) -> None:
        """From here on the old page is stale."""
        change: _Change
        for change in self._open.values():
            if change.call.root == what.root and not what.is_table:
                for page in change.pages(what.va, what.end):
                    change.taken.setdefault(page, what.seq)

    def installed(self, root: int, leaf: Leaf, event: Event) -> None:
        """A fault that came before the call took its lock belongs to what was there."""
        change: _Change
        for change in self._open.values():
            if change.call.root == root and not change.taken:
                end = leaf.va + span_of(leaf.level)
                for page in change.pages(leaf.va, end):
                    space = self._machine.space
                    change.before[page] = space.translate(root, page << PAGE_SHIFT)

    def heeds_access(self, page: int) -> bool:
        """Whether it is in the range of an open call."""
        change: _Change
        for change in self._open.values():
            if change.start >> PAGE_SHIFT <= page <= change.end >> PAGE_SHIFT:
                return True
        return False

    def heeds_fault(self, page: int) -> bool:
        """The same."""
        return self.heeds_access(page)

    def observed(self, event: Event) -> None:
        """A thread has used the range."""
        for change in self._changes(event):
            self._count(change, event, self._word(change, event))

    def faulted(self, event: Event) -> None:
        """A thread has faulted in the range."""
        for change in self._changes(event):
            self._count(change, event, "fault")

    def _changes(self, event: Event) -> list[_Change]:
        if not self._open:
            return []
        root = self._machine.tlb.root(event.cpu)
        return [
            change
            for change in self._open.values()
            if change.call.root == root and change.start <= event.a < change.end
        ]

    def _word(self, change: _Change, event: Event) -> str:
        page, pa = event.a >> PAGE_SHIFT, event.b & -PAGE_SIZE
        if pa != change.before.get(page):
            return "new"
        # The number is drawn after the access: only the record before it bounds its age.
        taken = change.taken.get(page)
        late = taken is not None and event.prev > taken
        back = self._machine.space.translate(change.call.root, event.a) == pa
        return "stale" if late and not back else "old"

    def _count(self, change: _Change, event: Event, word: str) -> None:
        task = self._machine.tasks.cpu(event.cpu).task
        threads = self.seen.setdefault(change.operation, {})
        threads.setdefault(task.name or task.comm or "?", Counter())[word] += 1
