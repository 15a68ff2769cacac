"""madvise(MADV_DONTNEED) drops pages that other threads use.

`zap_pte_range` lets the lock of the table go before `tlb_finish_mmu` flushes, and the VMA is only
read-locked: a fault may bring a new page while another CPU still reads the old one. That is legal
until the call returns; the old page must not be freed before (`tlb_remove_page`).
"""

from __future__ import annotations

from shootdown.race import Script, race
from shootdown.race.places import FAULT

REPEAT = 3
FEW = "pages=1"
"""QEMU's TLB is direct-mapped, and the windows lie 2 MiB apart: more pages push each other out."""


@race(workload="madvise", arch=("arm64",), repeat=REPEAT, options=FEW)
def load_before_flush(r: Script) -> None:
    """A load of the page whose entry was cleared and is not flushed yet; x86-64: see drop_move."""
    clear = r.thread("mapper").pte_write(old="present", new="none", within="madvise")
    reader = r.thread("observer*").load("page")
    with r.hold(before=clear):
        r.run_until(reader)
        r.advance()
        r.run_until(reader)


@race(workload="madvise", repeat=REPEAT, options=FEW)
def refault_before_flush(r: Script) -> None:
    """A fault brings a new page while nobody has flushed the old one."""
    clear = r.thread("mapper").pte_write(old="present", new="none", within="madvise")
    reader = r.thread("observer*")
    with r.hold(before=clear):
        r.run_until(reader.load("page"))
        r.advance()
    with r.hold(at=r.thread("mapper").enters("tlb_finish_mmu")):
        r.run_until(reader.returns(FAULT))
