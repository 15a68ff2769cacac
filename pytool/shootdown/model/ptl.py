"""Page-table locks: who held which, from when to when (event group ``ptl``).

The word is the byte ``locked`` of a qspinlock (kernel/locking/qspinlock.c): whoever takes the lock
sets it, on his own CPU, and clears it there; he cannot be moved to another CPU in between. So every
CPU's changes of a word alternate, and each hold is two neighbours among them. A number is drawn
after the access, but a CPU sets the byte only after another one has cleared it, which was after
that one's number for its own setting: in the order of ``acquire`` holds are in their true order,
although a release may be numbered behind the next acquisition.

Everything is done for all locks at once, in numpy.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from shootdown.model.pagetables import PAGE_SIZE
from shootdown.model.running import Running
from shootdown.trace.columns import any_of, are
from shootdown.trace.schema import Flag, Kind, Watch
from shootdown.trace.types import Events

WORDS: Final = (Watch.PTL, Watch.MM_PAGE_TABLE_LOCK)
NEVER: Final = np.iinfo(np.uint64).max
"""Number of a release that was not seen."""

HOLD: Final = np.dtype(
    [
        ("acquire", "<u8"),
        ("release", "<u8"),
        ("icount", "<u8"),
        ("pc", "<u8"),
        ("release_icount", "<u8"),
        ("release_pc", "<u8"),
        ("lock", "<u8"),
        ("task", "<u8"),
        ("cpu", "u1"),
        ("own", "?"),
    ]
)
"""One hold: ``lock`` is the PA of the table whose own lock it is (``own``), or the VA of the
mm_struct; ``task`` the VA of the task_struct, 0 when not known. ``acquire`` is 0 when the lock was
taken before it was watched, ``release`` is NEVER when the table went away or the trace ended."""

Holds = npt.NDArray[np.void]
_SEQ_BITS: Final = np.uint64(48)


@dataclass(frozen=True)
class Ptl:
    """All holds of a trace, in the order of ``acquire``."""

    holds: Holds
    breaks: int
    """Changes of a word that do not alternate on their CPU: evidence is incomplete."""

    @property
    def recorded(self) -> bool:
        """Whether any lock was taken in sight of the recorder."""
        return len(self.holds) > 0

    @cached_property
    def _index(self) -> _Index:
        return _Index(self.holds)

    def held(
        self,
        lock: npt.NDArray[np.uint64],
        cpu: npt.NDArray[np.uint8],
        seq: npt.NDArray[np.uint64],
    ) -> npt.NDArray[np.bool_]:
        """Whether the CPU held the lock when it recorded ``seq``; element by element."""
        return self._index.held(lock, cpu, seq)

    def stored_without(self, events: Events) -> frozenset[int]:
        """Numbers of stores to user tables by CPUs that did not hold the table's own lock."""
        user = events["d"] >> np.uint64(63) == 0
        stores = events[are(events["kind"], Kind.PTE_WRITE) & user]
        tables = stores["a"] - stores["a"] % np.uint64(PAGE_SIZE)
        covered = self.held(tables, stores["cpu"], stores["seq"])
        return frozenset(stores["seq"][~covered].tolist())


class _Index:
    """Finds the last hold of a lock by a CPU that began before a number."""

    def __init__(self, holds: Holds) -> None:
        self._keys = np.unique(_key(holds["lock"], holds["cpu"]))
        places = self._place(holds["lock"], holds["cpu"])[0] | holds["acquire"]
        order = np.argsort(places, kind="stable")
        self._places, self._ends = places[order], holds["release"][order]

    def _place(
        self, lock: npt.NDArray[np.uint64], cpu: npt.NDArray[np.uint8]
    ) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.bool_]]:
        """The key's number, above the bits of a ``seq``, and whether there is such a key."""
        keys = _key(lock, cpu)
        at = np.searchsorted(self._keys, keys)
        known = at < len(self._keys)
        known[known] = self._keys[at[known]] == keys[known]
        return at.astype(np.uint64) << _SEQ_BITS, known

    def held(
        self,
        lock: npt.NDArray[np.uint64],
        cpu: npt.NDArray[np.uint8],
        seq: npt.NDArray[np.uint64],
    ) -> npt.NDArray[np.bool_]:
        base, known = self._place(lock, cpu)
        if not len(self._places):
            return known
        before = np.searchsorted(self._places, base | seq) - 1
        at = np.maximum(before, 0)
        mine = known & (before >= 0) & (self._places[at] >= base)
        held: npt.NDArray[np.bool_] = mine & (seq < self._ends[at])
        return held


def _key(lock: npt.NDArray[np.uint64], cpu: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    """A lock and a CPU in one word: PAs and kernel VAs differ in their upper bits, CPUs are few.

    Locks are at least 64 bytes apart, and there are no more than 64 vCPUs.
    """
    low = np.uint64(63)
    keys: npt.NDArray[np.uint64] = (lock & ~low) | (cpu.astype(np.uint64) & low)
    return keys


def read(events: Events) -> Ptl:
    """The holds of every page-table lock in a trace."""
    kinds = any_of(events["kind"], (Kind.WATCH, Kind.WATCH_INIT))
    mine = events[kinds & any_of(events["id"], WORDS)]
    # A plain store may say that it found what it left, when it overtook the telling of another's.
    plain = (mine["flags"] & Flag.ATOMIC) == 0
    changes = mine[are(mine["kind"], Kind.WATCH) & (plain | (mine["b"] != mine["c"]))]
    order = np.lexsort((changes["seq"], changes["cpu"], changes["a"]))
    rows = changes[order]
    takes = rows["c"] != 0
    same = np.zeros(len(rows), np.bool_)
    same[1:] = (rows["a"][1:] == rows["a"][:-1]) & (rows["cpu"][1:] == rows["cpu"][:-1])
    ended = np.zeros(len(rows), np.bool_)
    ended[:-1] = takes[:-1] & same[1:] & ~takes[1:]
    began = np.zeros(len(rows), np.bool_)
    began[1:] = ended[:-1]
    lone = ~takes & ~began
    holds = np.zeros(int(takes.sum() + lone.sum()), HOLD)
    _fill(holds, rows, np.flatnonzero(takes), np.flatnonzero(lone), ended)
    unlinked = _unlinked(events, holds)
    early = _held_before(events, mine, rows[lone])
    breaks = int((~ended[takes]).sum() - unlinked) + int((~early).sum())
    holds = holds[np.argsort(holds["acquire"], kind="stable")]
    holds["task"] = Running(events).tasks(holds["cpu"], holds["acquire"])
    return Ptl(holds, max(breaks, 0))


def _fill(
    holds: Holds,
    rows: Events,
    takes: npt.NDArray[np.intp],
    lone: npt.NDArray[np.intp],
    ended: npt.NDArray[np.bool_],
) -> None:
    """Both ends of every hold, as far as they were seen."""
    first, rest = holds[: len(takes)], holds[len(takes) :]
    for name in ("icount", "pc"):
        first[name] = rows[name][takes]
    first["acquire"] = rows["seq"][takes]
    after = np.minimum(takes + 1, len(rows) - 1)
    seen = ended[takes]
    first["release"] = np.where(seen, rows["seq"][after], NEVER)
    for name in ("icount", "pc"):
        first[f"release_{name}"] = np.where(seen, rows[name][after], 0)
        rest[f"release_{name}"] = rows[name][lone]
    rest["release"] = rows["seq"][lone]
    for part, which in ((first, takes), (rest, lone)):
        part["lock"], part["cpu"] = rows["d"][which], rows["cpu"][which]
        part["own"] = are(rows["id"][which], Watch.PTL)


def _unlinked(events: Events, holds: Holds) -> int:
    """Holds whose table went away with its lock held, or that the trace ends in.

    The word is no longer watched then: ``collapse_huge_page`` and ``retract_page_tables``
    (mm/khugepaged.c) unlink a table that they hold the lock of.
    """
    open_ones = np.flatnonzero(holds["release"] == NEVER)
    gone = events[any_of(events["kind"], (Kind.TABLE_UNLINK, Kind.ROOT_FORGET))]
    last: dict[tuple[int, int], int] = {}
    for row in holds[["lock", "cpu", "acquire"]].tolist():
        key = (row[0], row[1])
        last[key] = max(last.get(key, 0), row[2])
    found = 0
    for at in open_ones.tolist():
        lock, cpu, acquire = (int(holds[name][at]) for name in ("lock", "cpu", "acquire"))
        ends = gone["seq"][(gone["b"] == lock) & (gone["seq"] > acquire)]
        if len(ends):
            holds["release"][at] = ends[0]
            found += 1
        else:
            found += last[lock, cpu] == acquire
    return found


def _held_before(events: Events, mine: Events, lone: Events) -> npt.NDArray[np.bool_]:
    """Of releases without an acquisition: whether the lock was taken before it was watched.

    So it was when the word's first value (WATCH_INIT) was not 0. And so it may have been when the
    release is told before that value: as soon as a table is linked, another vCPU may fault through
    it, while the plugin is still about to look at its lock.
    """
    inits = mine[are(mine["kind"], Kind.WATCH_INIT)]
    found: npt.NDArray[np.bool_] = np.isin(lone["a"], inits["a"][inits["c"] != 0])
    gone = events[any_of(events["kind"], (Kind.TABLE_UNLINK, Kind.ROOT_FORGET))]
    for at in np.flatnonzero(~found).tolist():
        release = lone[at]
        watched = inits["seq"][(inits["a"] == release["a"]) & (inits["seq"] < release["seq"])]
        ended = gone["seq"][(gone["b"] == release["d"]) & (gone["seq"] < release["seq"])]
        found[at] = ended.max(initial=0) >= watched.max(initial=0)
    return found
