"""Who waits for an mmap_lock: the slow paths of its rw_semaphore.

kernel/locking/rwsem.c: ``rwsem_down_read_slowpath`` and ``rwsem_down_write_slowpath`` are entered
when the lock cannot be taken at once; they return with it, or NULL-ish errors when killed. What the
lock word does meanwhile is in every recording. Whose lock it is the address tells:
``mm_struct.mmap_lock`` is part of the mm.
"""

from __future__ import annotations

from typing import Final

from shootdown.kernel.groups.base import Group, Traced
from shootdown.trace.functions import Function

GROUP: Final = Group(
    name="lock_waits",
    text="waiting for a rw_semaphore: who, which one, how long",
    functions=(
        Traced(Function.rwsem_down_read_slowpath, 3),
        Traced(Function.rwsem_down_write_slowpath, 2),
        Traced(Function.rwsem_mark_wake, 2),
        Traced(Function.rwsem_downgrade_wake, 1),
    ),
    needs=(("rwsem_down_read_slowpath",), ("rwsem_down_write_slowpath",)),
)
