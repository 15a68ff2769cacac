"""Which changes of watched words no listener can notice, for ``thin``.

Each filter is about one vCPU's events in one piece of the trace. They serve the rule
``flush-deadline``, the only listener for which these words matter one by one.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from shootdown.model.stream import Mask
from shootdown.trace.columns import Fields, are, counted
from shootdown.trace.schema import Kind, Probe, Watch

_WRITER: Final = 1
_COUNT: Final = (1 << 30) - 1 | 1 << 31
"""All of vm_refcnt but VM_REFCNT_EXCLUDE_READERS_FLAG (include/linux/mm_types.h)."""


def quiet_words(part: Fields, asks: Mask, loud: Mask) -> Mask:
    """All changes that matter to nobody.

    ``asks``: stores that may take entries away; ``loud``: functions that listeners hear of.
    """
    words = part["id"]
    changes = are(part["kind"], Kind.WATCH)
    found = quiet_table_locks(part, changes, asks)
    found |= quiet_readers(part, changes & are(words, Watch.MMAP_LOCK), loud)
    counts = np.flatnonzero(changes & are(words, Watch.VMA_REFCNT))
    found[counts] |= (part["b"][counts] & _COUNT != 0) | (part["c"][counts] & _COUNT == 0)
    return found


def quiet_table_locks(part: Fields, changes: Mask, asks: Mask) -> Mask:
    """Changes of page-table locks before which, since the last one, no entry was taken away.

    Proof: an acquisition or release says something about entries that the same vCPU took away
    since its last acquisition or release of any such lock, and about nothing else.
    """
    mine = changes & (are(part["id"], Watch.PTL) | are(part["id"], Watch.MM_PAGE_TABLE_LOCK))
    at = np.flatnonzero(mine)
    before = np.searchsorted(np.flatnonzero(asks), at, "right")
    found = np.zeros(len(part), np.bool_)
    found[at[1:]] = before[1:] == before[:-1]
    return found


def quiet_readers(part: Fields, mine: Mask, loud: Mask) -> Mask:
    """Changes of an mmap_lock that leave the writer's bit alone, behind another such one.

    Between the two there is no switch of tasks, and no call that listeners hear of. Proof: the task
    is the same. With the first change it has no hold of the lock that began as a writer's, and none
    that began before one of its gathers (struct mmu_gather); it has begun no gather since. Only in
    such a hold's ending can a listener be interested.
    """
    at = np.flatnonzero(mine)
    at = at[np.argsort(part["d"][at], kind="stable")]
    writer = (part["b"][at] ^ part["c"][at]) & np.uint64(_WRITER) != 0
    switches = are(part["kind"], Kind.PROBE) & are(part["id"], Probe.TASK_SWITCH)
    noise = counted(switches | loud)[at]
    lock = part["d"][at]
    quiet = (lock[1:] == lock[:-1]) & (noise[1:] == noise[:-1]) & ~writer[1:] & ~writer[:-1]
    found = np.zeros(len(part), np.bool_)
    found[at[1:]] = quiet
    return found
