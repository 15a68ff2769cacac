"""Which tasks hold which mmap_lock to write, from the writer's bit of its count.

Whoever takes the lock to write sets bit 0 himself, also behind the slow path, and clears it himself
(kernel/locking/rwsem.c, ``rwsem_try_write_lock``, ``up_write``, ``downgrade_write``). A task's own
records are in program order whatever CPUs it runs on, so what a task holds at a record of its own
is known for sure, although the changes of different tasks may be numbered in the wrong order.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from shootdown.model.locks import WRITER
from shootdown.model.running import Running
from shootdown.trace.columns import are
from shootdown.trace.schema import Kind, Watch
from shootdown.trace.types import Events


class Writers:
    """The write holds of all mmap_locks of a trace."""

    def __init__(self, events: Events) -> None:
        """``events``: of all kinds, in the order of ``seq``."""
        mine = events[are(events["id"], Watch.MMAP_LOCK)]
        stored = mine[are(mine["kind"], Kind.WATCH)]
        writer = stored[(stored["b"] ^ stored["c"]) & np.uint64(WRITER) != 0]
        inits = mine[are(mine["kind"], Kind.WATCH_INIT) & (mine["c"] & np.uint64(WRITER) != 0)]
        self._unseen: Final = _first_changes(inits, writer)
        self._holds: Final[dict[tuple[int, int], tuple[list[int], list[bool]]]] = {}
        who = holders(Running(events), writer).tolist()
        rows = zip(writer[["seq", "d", "c"]].tolist(), who, strict=True)
        for (seq, lock, new), holder in rows:
            seqs, taken = self._holds.setdefault((lock, holder), ([], []))
            seqs.append(seq)
            taken.append(bool(new & WRITER))

    def held(
        self,
        mm: npt.NDArray[np.uint64],
        holder: npt.NDArray[np.uint64],
        seq: npt.NDArray[np.uint64],
    ) -> npt.NDArray[np.bool_]:
        """Whether each ``holder`` (of ``holders``) holds the lock of the mm at a record of its own.

        True also while nobody can tell: from the moment a lock that was held began to be watched
        until its writer's bit changes.
        """
        found = np.zeros(len(seq), np.bool_)
        order = np.lexsort((holder, mm))
        changes = (np.diff(mm[order]) != 0) | (np.diff(holder[order]) != 0)
        for mine in np.split(order, np.flatnonzero(changes) + 1):
            if len(mine):
                found[mine] = self._held_by(int(mm[mine[0]]), int(holder[mine[0]]), seq[mine])
        return found

    def _held_by(self, mm: int, holder: int, seq: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
        seqs, taken = self._holds.get((mm, holder), ([], []))
        # What is given back first was taken before it was watched.
        states = np.array([bool(taken) and not taken[0], *taken], np.bool_)
        found: npt.NDArray[np.bool_] = states[
            np.searchsorted(np.array(seqs, np.uint64), seq, side="right")
        ]
        for begin, end in self._unseen.get(mm, ()):
            found |= (seq > np.uint64(begin)) & (seq < np.uint64(end))
        return found


def holders(running: Running, mine: Events) -> npt.NDArray[np.uint64]:
    """Who made each of ``mine``: VA of the task_struct; before the CPU's first switch the CPU."""
    tasks = running.of(mine)
    return np.where(tasks == 0, mine["cpu"].astype(np.uint64), tasks)


def _first_changes(inits: Events, writer: Events) -> dict[int, list[tuple[int, int]]]:
    """By lock, from where to where somebody unknown holds it."""
    found: dict[int, list[tuple[int, int]]] = {}
    for seq, lock in inits[["seq", "d"]].tolist():
        after = writer["seq"][(writer["d"] == lock) & (writer["seq"] > seq)]
        end = int(after[0]) if len(after) else np.iinfo(np.uint64).max
        found.setdefault(lock, []).append((seq, end))
    return found
