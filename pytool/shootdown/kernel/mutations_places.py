"""Flushes taken out of single operations: each breaks one deadline and leaves the others whole.

In the functions that an operation is made of, calls of the architecture's flush become NOPs, and on
arm64 TLBIs too. What compilers put into what differs, so functions are found by pattern.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from shootdown.errors import InfraError
from shootdown.kernel.facts import KernelFacts
from shootdown.kernel.mutations import NOP, NOP5, RANGE, Patch, tlbis
from shootdown.kernel.scan_text import CALLS

_SUFFIX: Final = r"(\.[a-z]+(\.\d+)?)*"
_PLACES: Final[dict[str, str]] = {
    # mm/mremap.c, mm/huge_memory.c (row D7 of rules/deadline_rows.py)
    "mremap-no-flush": r"move_(ptes|page_tables|normal_p[mu]d|pgt_entry|huge_p[mu]d)",
    # kernel/fork.c or mm/mmap.c (D6)
    "fork-no-flush": r"copy_process|dup_mm|dup_mmap",
    # mm/pgtable-generic.c: copy on write, KSM, reclaim and migration that do not defer (D8)
    "cow-no-flush": r"ptep_clear_flush",
    # mm/pgtable-generic.c: a huge page split (D13)
    "split-no-flush": r"pmdp_invalidate",
    # mm/pgtable-generic.c (D14)
    "collapse-no-flush": r"pmdp_collapse_flush",
}
_NOPS: Final = {"x86_64": NOP5, "arm64": NOP}
_FLUSH: Final = {"x86_64": re.compile("flush_tlb_mm_range"), "arm64": RANGE}


def without_flush(places: str, facts: KernelFacts) -> list[Patch]:
    """The functions whose names match ``places`` flush nothing any more.

    Raises InfraError when none of them flushes anything.
    """
    wanted, symbols = re.compile(f"({places}){_SUFFIX}"), facts.symbols
    vas = {va for name in symbols if wanted.fullmatch(name) for va in symbols.all_of(name)}
    patches = [patch for va in sorted(vas) for patch in _flushes(facts, va)]
    if not patches:
        raise InfraError(
            f"Nothing that flushes was found in {places.replace('|', ', ')} of {facts.release}; "
            "this kernel's text cannot be changed that way."
        )
    return patches


def _flushes(facts: KernelFacts, va: int) -> Iterator[Patch]:
    data = facts.image.read(va, facts.symbols.next_after(va) - va)
    nop = _NOPS[facts.arch]
    sites, targets = CALLS[facts.arch](data, va)
    for site, target in zip(sites.tolist(), targets.tolist(), strict=True):
        name, offset = facts.symbols.at(target)
        if offset == 0 and _FLUSH[facts.arch].fullmatch(name):
            at = site - va
            where = "{}+{:#x}".format(*facts.symbols.at(site))
            yield Patch(site, data[at : at + len(nop)], nop, f"no call of {name} at {where}")
    if facts.arch == "arm64":
        yield from tlbis(facts, va)


PLACES: Final[dict[str, Callable[[KernelFacts], list[Patch]]]] = {
    name: partial(without_flush, places) for name, places in _PLACES.items()
}
"""By the name of the mutation."""
