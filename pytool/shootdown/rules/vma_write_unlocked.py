"""vma-write-unlocked: VMAs and the tree of them change under their locks."""

from __future__ import annotations

from collections.abc import Collection
from typing import ClassVar, Final

import numpy as np

from shootdown.model import vma_stores
from shootdown.model.history import History
from shootdown.model.listener import HOOKS
from shootdown.model.machine import Machine
from shootdown.model.stream import Event
from shootdown.model.syscalls import operation
from shootdown.model.vma_stores import Store
from shootdown.rules.base import Rule
from shootdown.rules.scene import Scene
from shootdown.trace.schema import Kind, Watch

_NAMES: Final = {
    Watch.VMA_START: "vm_start",
    Watch.VMA_END: "vm_end",
    Watch.VMA_FLAGS: "vm_flags",
    Watch.VMA_PAGE_PROT: "vm_page_prot",
    Watch.MM_TREE: "mm_mt.ma_root",
}
_MMAP_LOCK: Final = "mmap_lock held to write"
_VMA_LOCK: Final = "the lock of the VMA held to write"


class VmaWriteUnlocked(Rule):
    """A store to a VMA in the tree is made by a task that keeps all readers out."""

    id: ClassVar = "vma-write-unlocked"
    title: ClassVar = "VMAs change under mmap_lock and their own lock, both held to write"
    archs: ClassVar = ("x86_64", "arm64")
    needs: ClassVar = (Kind.WATCH, Kind.RET_USER)
    words: ClassVar = vma_stores.JUDGED
    history: ClassVar = (Kind.WATCH, Kind.WATCH_INIT, Kind.ENTER, Kind.EXIT, Kind.PROBE)
    deaf: ClassVar = HOOKS
    text: ClassVar = """\
Whoever stores to `vm_start`, `vm_end`, `vm_flags` or `vm_page_prot` of a VMA that others can find
in its mm's tree, or to the tree's root (`mm_mt.ma_root`), holds mmap_lock of that mm to write.
Where VMAs have a lock of their own, that of the VMA is held to write as well: its `vm_lock_seq`
equals the `mm_lock_seq` of the mm. A fault that holds either lock to read relies on it.

Needs the event group `vmas`; without it the rule is not armed. The lock of the VMA is judged where
the group `vma_locks` is recorded. Every such store is its situation. The lock is looked for at the
task that stores, so that another task's hold does not count.

* **WITNESS**: the store was seen. There is no **MAY**: no TLB is involved.

Sanctioned:

* VMAs that are not in the tree: newborn ones (also those on their way into a child's tree), and
  those that munmap, a merge or the end of the mm took out. Where no word tells (before 6.4) a VMA
  counts as in the tree from birth to death. From 6.4 to 6.14 it does from the first time on that it
  is locked to write, which is before it goes in.
* Flags that are only set, in one atomic step: `VM_MAYBE_GUARD` is set so under the lock of the VMA
  or mmap_lock held to read. A flag that is set so by mistake is not found.

Not excepted, because it needs no exception: exec's temporary stack, `dup_mmap()` filling the
child's tree, and `exit_mmap()` all hold mmap_lock of the mm they change to write. Nor is a stack
that grows under mmap_lock held to read, as it did in 6.1 to 6.4 before `lock_mm_and_find_vma()`:
that is the defect called StackRot. Of a tree with more than one node only the root is seen."""
    reference: ClassVar = (
        "include/linux/mm.h vma_start_write(), vm_flags_set(), vma_set_atomic_flag()",
        "include/linux/mmap_lock.h vma_mark_attached(), vma_mark_detached()",
        "mm/vma.c expand_downwards(), commit_merge(); mm/mmap.c dup_mmap(), exit_mmap()",
        "mm/memory.c lock_mm_and_find_vma(); fs/exec.c setup_arg_pages()",
        "mm/madvise.c madvise_guard_install(); Documentation/mm/process_addrs.rst",
    )

    def __init__(self, machine: Machine, *, idle: str = "") -> None:
        super().__init__(machine, idle=idle)
        self._unlocked: dict[int, Store] = {}
        self._sanctioned = 0

    @classmethod
    def idle(cls, scene: Scene) -> str:
        """Without the words there is nothing to judge."""
        return super().idle(scene) or scene.lacks(watches=vma_stores.JUDGED[:-1])

    def begun(self, history: History) -> None:
        """Find out under which locks every store was made."""
        if not self.armed:
            return
        found = vma_stores.stores(history.events)
        known = found.mm != 0
        self.exercised_at(found.seq[known])
        self._sanctioned = int(np.count_nonzero(known & found.atomic_set))
        wrong = known & ~found.atomic_set & (~found.mmap_locked | (found.vma_locked == 0))
        self._unlocked = {store.seq: store for store in found.of(wrong)}

    @property
    def demanded(self) -> Collection[int]:
        """The stores to report."""
        return self._unlocked

    def watched(self, event: Event) -> None:
        """Report a store."""
        store = self._unlocked.get(event.seq)
        if store:
            self._report(event, store, _VMA_LOCK if store.mmap_locked else _MMAP_LOCK)

    def _report(self, event: Event, store: Store, missing: str) -> None:
        call = self.machine.tasks.cpu(event.cpu).task.call
        name = _NAMES[store.word]
        where = f" of the VMA at {store.start:#x}" if store.word is not Watch.MM_TREE else ""
        self.found_at(
            event,
            operation=operation(call) or "background",
            mm=store.mm,
            va=store.start,
            seq=[event.seq],
            summary=(
                f"CPU {event.cpu} changed {name}{where} from {event.b:#x} to {event.c:#x} "
                f"without {missing}"
            ),
            missing=f"{missing}, for {name}",
            kind="witness",
            details={"word": name, "before": event.b, "after": event.c},
            mark=f"{missing}, for {name}",
        )

    def _note(self) -> str:
        count = self._sanctioned
        return f"{count} flags set atomically, sanctioned" if count else ""
