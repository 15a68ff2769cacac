"""table-free-before-flush: no page table is freed while a walk cache may lead to it."""

from __future__ import annotations

from typing import ClassVar

from shootdown.model.entries import Stale
from shootdown.rules.frees import FreedFrames


class TableFreeBeforeFlush(FreedFrames):
    """A page table's frame goes back to the allocator only when no CPU may walk through it."""

    id: ClassVar = "table-free-before-flush"
    title: ClassVar = "Page tables are flushed from walk caches before they are freed"
    archs: ClassVar = ("x86_64", "arm64")
    tables: ClassVar = True
    text: ClassVar = """\
When the frame of a page table goes back to the page allocator, every pointer to it must have been
invalidated in the walk caches of every CPU that has the address space loaded, lazy ones included: a
lazy CPU still walks speculatively, and what it finds in a reused frame it may believe.

* **MAY**: the frame was freed, and no invalidation that removes the pointer has taken effect on
  some CPU.
* **WITNESS**: the frame was freed while the table above still pointed to it. No CPU's use of a
  pointer that is gone can be witnessed: QEMU has no walk caches.

Needs the event group `pages` or `walkers`. A flush of leaf entries only (`TLBI VALE1`) does not
count. No violation: a CPU inside `switch_mm` (E4), or with another address space loaded (E5).
Whether software walkers were waited for (an interrupt or a grace period) is for
`table-freed-under-walker`."""
    reference: ClassVar = (
        "mm/mmu_gather.c tlb_remove_table_free(), tlb_table_flush()",
        "arch/x86/mm/tlb.c flush_tlb_mm_range(): freed_tables leaves no lazy CPU out",
        "arch/arm64/include/asm/tlb.h tlb_flush(): last_level = !tlb->freed_tables",
        "Intel SDM volume 3A, 4.10.2 (paging-structure caches); Arm ARM (DDI 0487), D8.14",
    )

    def use_of(self, page: int) -> tuple[int, int, int] | None:
        """A pointer to it in the table of the level above."""
        found = self.machine.space.linked(page)
        return None if found is None else (*found, 0)

    def usable(self, stale: Stale) -> bool:
        """Wherever the address space is loaded: walks need nobody who runs."""
        state = self.machine.tasks.cpu(stale.cpu)
        return not state.switching and self.machine.tlb.loaded(stale.cpu, stale.tag)
