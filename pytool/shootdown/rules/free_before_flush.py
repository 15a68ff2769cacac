"""free-before-flush: no frame of user memory is freed while a TLB may lead to it."""

from __future__ import annotations

from typing import ClassVar

from shootdown.model.entries import Stale
from shootdown.rules.frees import FreedFrames
from shootdown.rules.scene import Scene
from shootdown.trace.functions import Function

_ENDS: tuple[str, ...] = ("exit", "exit_group", "execve", "execveat")
_TEARDOWN = Function.exit_mmap


class FreeBeforeFlush(FreedFrames):
    """A frame of user memory goes back to the allocator only when no TLB leads to it."""

    id: ClassVar = "free-before-flush"
    title: ClassVar = "User memory is flushed before it is freed"
    archs: ClassVar = ("x86_64", "arm64")
    tables: ClassVar = False
    text: ClassVar = """\
When a frame that user slots mapped goes back to the page allocator, every such entry must have been
invalidated on every CPU that could still use it. Whoever gets the frame next would otherwise share
it with the old owner.

* **MAY**: the frame was freed, and no invalidation that covers the entry has taken effect on some
  CPU.
* **WITNESS**: the frame was freed while an entry for it, of a page, was still in memory: nobody had
  even taken it away.

Needs the event groups `pages` and `functions`. No violation: a CPU that borrows the address space
lazily (E3), is inside `switch_mm` (E4) or has another one loaded (E5); the teardown of an address
space that nobody runs in, for which arm64 does not flush leaf entries at all (E7); kernel memory,
which `vfree` frees before it flushes (E13); pages of hugetlb, which go back to their pool (E14); a
page whose entry has come back (E15)."""
    reference: ClassVar = (
        "include/asm-generic/tlb.h, its first comment",
        "mm/mmu_gather.c tlb_flush_mmu(): tlb_flush_mmu_tlbonly() before tlb_flush_mmu_free()",
        "mm/vmscan.c shrink_folio_list(): try_to_unmap_flush() before free_unref_folios()",
        "mm/memory.c wp_page_copy(): ptep_clear_flush() before the old page is let go",
        "arch/arm64/include/asm/tlb.h tlb_flush(): fullmm",
        "mm/page_alloc.c free_pages_prepare(), bad_page(): _mapcount is -1 when a page is freed",
    )

    @classmethod
    def idle(cls, scene: Scene) -> str:
        """The teardown is known by its function."""
        return super().idle(scene) or scene.lacks(functions=(_TEARDOWN,))

    def use_of(self, page: int) -> tuple[int, int, int] | None:
        """A level 1 leaf that maps it."""
        found = self.machine.space.mapping(page)
        return None if found is None else (found[0], found[1].va, found[1].entry)

    def usable(self, stale: Stale) -> bool:
        """Not where nobody can run, nor on a CPU that is told when it comes back."""
        what = stale.what
        call = what.call
        if _TEARDOWN in what.stack or (call and call.name in _ENDS and call.root == what.root):
            return False
        return self.machine.can_use(stale.cpu, stale.tag)
