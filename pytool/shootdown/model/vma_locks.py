"""The history of every per-VMA lock, in the two forms there are, and of ``mm_lock_seq``.

From 6.4 to 6.14 a lock is a rw_semaphore of its own, read by ``locks``. Its readers are those of
the VMA; a writer takes it only to wait for them, stores ``vm_lock_seq`` and gives it back at once
(include/linux/mm.h, ``vma_start_write``). From 6.15 on the word is ``vm_refcnt``
(include/linux/mm_types.h)::

    0 detached   1 attached   above 1 readers   bit 30 a writer waits for readers, or excludes them

Numbers are drawn after the access: the changes of these words are brought into the order that their
values tell (``chain``). The sequence numbers are stored by whoever holds mmap_lock to write.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np

from shootdown.model import locks
from shootdown.model.chain import Step, chain
from shootdown.model.locks import Move
from shootdown.trace.columns import any_of, are
from shootdown.trace.schema import Kind, Watch
from shootdown.trace.types import Events

EXCLUDE: Final = 1 << 30
"""include/linux/mm_types.h: VM_REFCNT_EXCLUDE_READERS_FLAG."""
COUNT: Final = np.uint64(~EXCLUDE & (1 << 64) - 1)
"""All bits of ``vm_refcnt`` but that one."""
SEQUENCE: Final = (1 << 32) - 1
"""Bits of vm_lock_seq and mm_lock_seq that are compared."""
_READER_BIAS: Final = 8
"""Binary logarithm of a reader's share in the count of a rw_semaphore."""
_READERS: Final = (1 << 55) - 1
_STORED: Final = {
    Watch.VMA_LOCK_SEQ: "write_lock",
    Watch.VMA_DETACHED: "attach",
    Watch.MM_LOCK_SEQ: "mm_seq",
}


class Change(NamedTuple):
    """One change."""

    seq: int
    icount: int
    pc: int
    cpu: int
    event: str
    """``write_lock``: ``vm_lock_seq`` was stored, the VMA is locked to write until ``mm_seq``
    changes. ``mm_seq``: ``mm_lock_seq`` of the mm changed; where it is a seqcount, an odd number
    begins a section in which mmap_lock is held to write. ``attach``, ``detach``. ``exclude``,
    ``include``: bit 30 was set, cleared. Else a ``locks.Move``."""
    base: int
    """VA of the vm_area_struct; for ``mm_seq`` that of the mm_struct."""
    old: int
    new: int
    readers: int
    """Holders of the read lock after the change, those that will back out included."""


class History(NamedTuple):
    """All changes, word by word in their true order."""

    steps: list[Change]
    breaks: int
    """Places where the values of a word do not chain: evidence is incomplete."""


def history(events: Events) -> History:
    """Every change of a per-VMA lock in the trace."""
    rwsems = locks.transitions(events, Watch.VMA_LOCK)
    found = [
        Change(
            t.seq, t.icount, t.pc, t.cpu, t.move.name.lower(), t.lock, t.old, t.new, _held(t.new)
        )
        for t in rwsems.transitions
        if t.move is not Move.INIT
    ]
    counted, breaks = _counts(events)
    return History([*found, *counted, *_stores(events)], rwsems.breaks + breaks)


def _held(count: int) -> int:
    return count >> _READER_BIAS & _READERS


def _counts(events: Events) -> tuple[list[Change], int]:
    """The changes of ``vm_refcnt``, and the breaks in them."""
    kinds = any_of(events["kind"], (Kind.WATCH, Kind.WATCH_INIT))
    mine = events[kinds & are(events["id"], Watch.VMA_REFCNT)]
    mine = mine[np.lexsort((mine["seq"], mine["a"]))]
    found: list[Change] = []
    breaks = 0
    for word in np.split(mine, np.flatnonzero(np.diff(mine["a"])) + 1):
        for life in locks.lives(word):
            steps, broken = chain(life)
            breaks += broken
            found += [_count(step) for step in steps if step.kind == Kind.WATCH]
    return found, breaks


def _count(step: Step) -> Change:
    old, new = step.old, step.new
    if old == 0 or new == 0:
        event = "detach" if new == 0 else "attach"
    elif (old ^ new) == EXCLUDE:
        event = "exclude" if new & EXCLUDE else "include"
    else:
        event = {1: "read_acquire", -1: "read_release"}.get(new - old, "strange")
    readers = max((new & ~EXCLUDE) - 1, 0)
    return Change(step.seq, step.icount, step.pc, step.cpu, event, step.lock, old, new, readers)


def _stores(events: Events) -> Iterator[Change]:
    """The changes of the words that only a writer stores to."""
    stored = are(events["kind"], Kind.WATCH) & any_of(events["id"], list(_STORED))
    names = ("seq", "icount", "pc", "cpu", "id", "d", "b", "c")
    columns = (events[stored][name].tolist() for name in names)
    for seq, icount, pc, cpu, watch, base, old, new in zip(*columns, strict=True):
        event = _STORED[watch]
        if watch == Watch.VMA_DETACHED and new:
            event = "detach"
        yield Change(seq, icount, pc, cpu, event, base, old, new, 0)
