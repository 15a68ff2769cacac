"""Flushes that are missing in one operation, or incomplete in all of them.

Each entry of ``FLUSHES`` is a bug that a kernel had, or could have. They leave most of a kernel's
flushes alone, so that some need a race to do harm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Final

from shootdown.errors import UsageError
from shootdown.kernel import mutations_flush_arm64 as arm64
from shootdown.kernel import mutations_flush_x86_64 as x86_64
from shootdown.kernel.facts import KernelFacts
from shootdown.kernel.mutations import Patch
from shootdown.kernel.mutations_text import (
    body,
    dropped,
    functions,
    needed,
    place,
    without_calls,
)

Mutation = Callable[[KernelFacts], Sequence[Patch]]

_FLUSHERS: Final = "flush_tlb_mm_range|tlb_flush|__flush_tlb_range(_nosync)?|flush_tlb_mm"
_FORK: Final = "dup_mmap|dup_mm|copy_mm|copy_process"


def mprotect_no_flush(facts: KernelFacts) -> list[Patch]:
    """mprotect flushes nothing (mm/mprotect.c: do_mprotect_pkey, change_protection)."""
    finish = without_calls(facts, "tlb_finish_mmu", "do_mprotect_pkey")
    starts = functions(facts, "change_protection")
    return finish + dropped(facts, _FLUSHERS, starts)  # the latter of a VMA, where not gathered


def fork_no_flush(facts: KernelFacts) -> list[Patch]:
    """fork does not flush what it write-protected (kernel/fork.c, mm/mmap.c: dup_mmap)."""
    return _FORK_NO_FLUSH[facts.arch](facts)


def madvise_no_flush(facts: KernelFacts) -> list[Patch]:
    """madvise(MADV_DONTNEED) neither flushes nor frees the pages (mm/madvise.c, mm/memory.c).

    Not where tlb_end_vma() flushes, as on arm64: that is done for munmap as well.
    """
    return without_calls(facts, "tlb_finish_mmu", "zap_page_range_single|do_madvise|vector_madvise")


def mremap_no_flush(facts: KernelFacts) -> list[Patch]:
    """mremap does not flush what it moved (mm/mremap.c, mm/huge_memory.c: move_huge_pmd)."""
    return _flushing_no_more(facts, "move_(ptes|page_tables|normal_p[mu]d|pgt_entry|huge_p[mu]d)")


def cow_no_flush(facts: KernelFacts) -> list[Patch]:
    """Copy on write, KSM, and unmapping that does not defer do not flush (mm/pgtable-generic.c)."""
    return _flushing_no_more(facts, "ptep_clear_flush")


def split_no_flush(facts: KernelFacts) -> list[Patch]:
    """A huge page is split without a flush (mm/pgtable-generic.c)."""
    return _flushing_no_more(facts, "pmdp_invalidate")


def collapse_no_flush(facts: KernelFacts) -> list[Patch]:
    """Pages are made a huge one without a flush of their table (mm/pgtable-generic.c)."""
    return _flushing_no_more(facts, "pmdp_collapse_flush")


def _flushing_no_more(facts: KernelFacts, names: str) -> list[Patch]:
    found = dropped(facts, _FLUSHERS, functions(facts, names))
    if facts.arch == "arm64":
        found += arm64.no_tlbi(facts, functions(facts, names))
    return needed(facts, found, f"flush in {names}")


def nested_no_flush(facts: KernelFacts) -> list[Patch]:
    """Who has found entries clear does not flush for the one who cleared them and has not yet.

    ``tlb_finish_mmu`` (mm/mmu_gather.c) compares ``mm->tlb_flush_pending`` with 1, and here with a
    number that it does not reach. The check was added in 4.13 (99baac21e458).
    """
    patches = []
    for start in functions(facts, "tlb_finish_mmu"):
        steps = body(facts, start)[:_EARLY]
        for step, behind in pairwise(steps):
            one = step.mnemonic == "cmp" and step.operands.endswith(("1", "#1"))
            if one and behind.mnemonic in ("jle", "jg", "b.le", "b.gt"):
                new = _NEVER_REACHED[facts.arch](step.data)
                why = f"nobody else's flush is pending at {place(facts, step.va)}"
                patches.append(Patch(step.va, step.data, new, why))
    return needed(facts, patches[:1], "look at tlb_flush_pending in tlb_finish_mmu")


def _arm64_4095(data: bytes) -> bytes:
    """``cmp w, #4095``: the immediate is in bits 21 to 10."""
    return (int.from_bytes(data, "little") | 0xFFF << 10).to_bytes(4, "little")


_EARLY: Final = 16
"""Instructions at the beginning of tlb_finish_mmu."""
_NEVER_REACHED: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "x86_64": lambda data: data[:-1] + b"\x7f",  # a signed byte
    "arm64": _arm64_4095,
}


def _for(**known: Mutation) -> Mutation:
    def change(facts: KernelFacts) -> Sequence[Patch]:
        if facts.arch not in known:
            raise UsageError(f"this mutation is for {', '.join(known)}, not for {facts.arch}")
        return known[facts.arch](facts)

    return change


_FORK_NO_FLUSH: Final[Mapping[str, Callable[[KernelFacts], list[Patch]]]] = {
    "x86_64": lambda facts: without_calls(facts, _FLUSHERS, _FORK),
    "arm64": lambda facts: needed(
        facts, arm64.no_tlbi(facts, functions(facts, _FORK)), "TLBI in fork"
    ),
}

FLUSHES: Final[Mapping[str, Mutation]] = {
    "mprotect-no-flush": mprotect_no_flush,
    "fork-no-flush": fork_no_flush,
    "mremap-no-flush": mremap_no_flush,
    "cow-no-flush": cow_no_flush,
    "split-no-flush": split_no_flush,
    "collapse-no-flush": collapse_no_flush,
    "madvise-no-flush": _for(x86_64=madvise_no_flush),
    "local-flush": _for(x86_64=x86_64.local_flush, arm64=arm64.local_flush),
    "flush-no-wait": _for(x86_64=x86_64.flush_no_wait, arm64=arm64.flush_no_wait),
    "first-page-only": _for(x86_64=x86_64.first_page_only),
    "nested-no-flush": nested_no_flush,
    "lazy-skip": _for(x86_64=x86_64.lazy_skip),
    "lazy-stays": _for(x86_64=x86_64.lazy_stays),
    "leaf-flush": _for(arm64=arm64.leaf_flush),
}
"""By name."""
