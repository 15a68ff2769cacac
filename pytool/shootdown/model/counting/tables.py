"""What the trace shows of each phase of the guest ``counting_tables``, and what it must show.

Functions named are those of 6.1, 6.12 and 7.2, unless one of them is given. The workload is one
thread; its pages lie below one table that stays, its blocks each have a table that comes and goes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from shootdown import arch as arches
from shootdown.arch.mmu import Mmu
from shootdown.model import pages, ptl, walkers
from shootdown.model.pagetables import PAGE_SHIFT, PAGE_SIZE
from shootdown.model.running import Running
from shootdown.model.stream import Trace
from shootdown.model.tasks import text
from shootdown.trace.schema import Kind, Mark, Probe
from shootdown.trace.types import Events

PAGES: Final = 64
TABLES: Final = 4
WALKS: Final = 16
"""Of guest/workloads/counting_tables.c."""
_BLOCK: Final = 2 << 20


@dataclass(frozen=True)
class Account:
    """One phase."""

    held: int = 0
    """Holds, by the thread, of the lock of the table of its pages."""
    held_blocks: int = 0
    """Holds of the locks of the blocks' tables."""
    held_above: int = 0
    """Holds of the lock of the table above them."""
    unreleased: int = 0
    """Holds, by the thread, of any of these locks, that did not end in the phase."""
    unlocked: int = 0
    """Stores to leaf slots of these tables by a CPU that did not hold the lock."""
    freed: int = 0
    """Frames freed, then or later, of those its pages were in."""
    pfn_sum: int = 0
    """Sum of their numbers."""
    stale: int = 0
    """Stores that mapped a frame of its pages while that was free, by what the trace tells."""
    linked: int = 0
    """Tables of the blocks that were linked."""
    returned: int = 0
    """Tables of the blocks, unlinked in the phase, whose frames were freed, then or later."""
    walks: int = 0
    """Walks without locks by the thread."""


NAMES: Final = tuple(field.name for field in fields(Account))


class Phase(NamedTuple):
    """One phase of one iteration; the first iteration, 0, only warms up."""

    name: str
    iteration: int
    account: Account


DERIVED: Final[Mapping[str, Account]] = {
    # do_anonymous_page() (mm/memory.c): pte_offset_map_lock() once a fault. The table is there, so
    # pte_alloc() takes no lock.
    "fill": Account(held=PAGES),
    # zap_pte_range(): the lock once (see _ZAPS); 64 pages fill no batch.
    "drop": Account(held=1, freed=PAGES),
    "refill": Account(held=PAGES),
    # As drop, by unmap_vmas(); the table stays, for its block has other pages.
    "unmap": Account(held=1, freed=PAGES),
    # __pte_alloc(), pmd_install(): the lock of the table above, once for each; then as fill.
    "tables": Account(held_blocks=TABLES, held_above=TABLES, linked=TABLES),
    # zap_pte_range() once for each table; free_pte_range() unlinks them under no page-table lock.
    "untables": Account(held_blocks=TABLES, returned=TABLES),
    # get_futex_key() (kernel/futex/core.c): get_user_pages_fast() of one page, found at once.
    "walk": Account(walks=WALKS),
}
"""Of each phase, by the kernel's source; ``pfn_sum`` is the page map's to tell."""
_ZAPS: Final = ("drop", "unmap", "untables")
"""zap_pte_range() gives the lock back when the CPU is wanted (need_resched()), and begins again."""


@dataclass(frozen=True)
class Window:
    """The events of a phase: those between two numbers; ``task`` is its thread's task_struct."""

    name: str
    iteration: int
    begin: int
    end: int
    task: int


class Reader:
    """Everything that the phases are counted from."""

    def __init__(self, events: Events, mmu: Mmu) -> None:
        self.events: Final = events
        self.mmu: Final = mmu
        self.ptl: Final = ptl.read(events)
        self.lives: Final = pages.read(events)
        self.walks: Final = walkers.walks(events)
        self.frees: Final = walkers.frees(events)
        self.running: Final = Running(events)
        (note,) = events[(events["kind"] == Kind.MARK) & (events["id"] == Mark.NOTE)][:1]
        self.pages: Final = range(int(note["a"]), int(note["a"]) + PAGES * PAGE_SIZE)
        self.blocks: Final = range(int(note["c"]), int(note["c"]) + TABLES * _BLOCK)
        without = self.ptl.stored_without(events)
        self.without: Final = np.array(sorted(without), np.uint64)
        self.stale: Final = pages.mapped_while_free(events, self.lives, mmu)
        self._freed_at: Final = _times(self.lives["pa"], self.lives["freed"])
        self._mapped: Final = _times(*pages.mapped(events, mmu))

    def windows(self) -> Iterator[Window]:
        """The phases, by their marks."""
        iteration, begin = 0, None
        for mark in self.events[self.events["kind"] == Kind.MARK]:
            if mark["id"] == Mark.ITER:
                iteration = int(mark["a"])
            elif mark["id"] == Mark.BEGIN and text(int(mark["a"]), int(mark["b"])) in DERIVED:
                begin = mark
            elif mark["id"] == Mark.END and begin is not None and mark["a"] == begin["a"]:
                task = self.running.tasks(begin["cpu"].reshape(1), begin["seq"].reshape(1))
                name = text(int(begin["a"]), int(begin["b"]))
                seqs = int(begin["seq"]), int(mark["seq"])
                yield Window(name, iteration, *seqs, int(task[0]))
                begin = None

    def account(self, window: Window) -> Account:
        """What happened in a phase."""
        events = self._within(self.events, "seq", window)
        user = events[(events["kind"] == Kind.PTE_WRITE) & (events["level"] == 1)]
        mine = user[_in(user["d"], self.pages)]
        blocks = user[_in(user["d"], self.blocks)]
        links = events[(events["kind"] == Kind.TABLE_LINK) & _in(events["c"], self.blocks)]
        unlinks = events[(events["kind"] == Kind.TABLE_UNLINK) & _in(events["c"], self.blocks)]
        freed = self._freed(mine)
        stores = np.concatenate([mine["seq"], blocks["seq"]])
        own, below, above = (_tables(slots["a"]) for slots in (mine, blocks, links))
        return Account(
            held=self._held(window, own),
            held_blocks=self._held(window, below),
            held_above=self._held(window, above),
            unreleased=self._unreleased(window, own | below | above),
            unlocked=int(np.isin(stores, self.without).sum()),
            freed=len(freed),
            pfn_sum=int(freed.sum()),
            stale=sum(window.begin < seq < window.end for seq in self.stale),
            linked=len(links),
            returned=self._returned(unlinks),
            walks=int((self._within(self.walks, "begin", window)["task"] == window.task).sum()),
        )

    def _held(self, window: Window, tables: set[int]) -> int:
        mine = self._taken(window, tables)
        mine = mine[mine["release"] < window.end]
        return len(mine) - (self._resumed(window, mine) if window.name in _ZAPS else 0)

    def _unreleased(self, window: Window, tables: set[int]) -> int:
        return int((self._taken(window, tables)["release"] >= window.end).sum())

    def _taken(self, window: Window, tables: set[int]) -> ptl.Holds:
        """Holds of the tables' locks that the thread began in the phase."""
        holds = self._within(self.ptl.holds, "acquire", window)
        mine = (holds["task"] == window.task) & np.isin(holds["lock"], list(tables))
        taken: ptl.Holds = holds[mine]
        return taken

    def _resumed(self, window: Window, holds: ptl.Holds) -> int:
        """Holds that go on with a table after the thread was switched out in the middle of it."""
        back = (self.events["kind"] == Kind.PROBE) & (self.events["id"] == Probe.TASK_SWITCH)
        came = self._within(self.events[back & (self.events["a"] == window.task)], "seq", window)
        at = np.searchsorted(came["seq"], holds["acquire"])
        again = (holds["lock"][1:] == holds["lock"][:-1]) & (at[1:] > at[:-1])
        return int(again.sum())

    def _freed(self, stores: Events) -> npt.NDArray[np.uint64]:
        """Numbers of the frames that a phase's stores unmapped and that were freed before any use.

        Not always in the phase: new pages wait for their LRU list in a batch of each CPU, which
        holds a reference (mm/swap.c, ``folio_add_lru``). 6.1 and 6.12 empty the batch when they
        free (``free_pages_and_swap_cache``, mm/swap_state.c), 7.2 does not.
        """
        found = []
        for old, new, seq in stores[["b", "c", "seq"]].tolist():
            if self.mmu.leaf(old, 1) and not self.mmu.leaf(new, 1):
                frame = self.mmu.target(old, 1)
                freed, mapped = _next(self._freed_at, frame, seq), _next(self._mapped, frame, seq)
                found += [frame >> PAGE_SHIFT] if freed < mapped else []
        return np.array(found, np.uint64)

    def _returned(self, unlinks: Events) -> int:
        return sum(
            bool(np.any((self.frees["table"] == pa) & (self.frees["unlinked"] == seq)))
            for pa, seq in unlinks[["b", "seq"]].tolist()
        )

    def _within(self, rows: Events, name: str, window: Window) -> Events:
        return rows[(rows[name] > window.begin) & (rows[name] < window.end)]


def _times(frames: npt.NDArray[np.uint64], seqs: npt.NDArray[np.uint64]) -> dict[int, list[int]]:
    """Numbers of the events of each frame, in order."""
    found: dict[int, list[int]] = {}
    for frame, seq in sorted(zip(frames.tolist(), seqs.tolist(), strict=True)):
        found.setdefault(frame, []).append(seq)
    return found


def _next(times: dict[int, list[int]], frame: int, seq: int) -> int:
    """The first of a frame's numbers after ``seq``; NEVER when there is none."""
    mine = times.get(frame, [])
    at = bisect_right(mine, seq)
    return mine[at] if at < len(mine) else int(pages.NEVER)


def _in(vas: npt.NDArray[np.uint64], where: range) -> npt.NDArray[np.bool_]:
    return (vas >= np.uint64(where.start)) & (vas < np.uint64(where.stop))


def _tables(slots: npt.NDArray[np.uint64]) -> set[int]:
    return {slot & -PAGE_SIZE for slot in slots.tolist()}


def phases(trace: Trace) -> list[Phase]:
    """Every whole phase in the trace, in order. Raises UsageError for an unknown architecture."""
    reader = Reader(trace.events(), arches.get(trace.arch).mmu)
    return [Phase(w.name, w.iteration, reader.account(w)) for w in reader.windows()]


def differences(phase: Phase) -> Iterator[str]:
    """Where a phase is not what the source says; ``pfn_sum`` aside."""
    right = DERIVED[phase.name]
    for name in NAMES:
        found, due = getattr(phase.account, name), getattr(right, name)
        if found != due and name != "pfn_sum":
            yield f"{phase.name}: {name} is {found}, not {due}"
