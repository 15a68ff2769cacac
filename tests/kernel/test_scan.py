"""Call sites and changes of kernel text."""

from __future__ import annotations

import re
import struct
from itertools import pairwise

import pytest

from shootdown.errors import InfraError
from shootdown.kernel import mutations, scan
from shootdown.kernel.facts import KernelFacts
from shootdown.kernel.scan_text import CALLS
from tests.kernel.test_plan import without


def test_arm64_branches_go_both_ways() -> None:
    words = (0x9400_0002, 0xD503201F, 0x97FF_FFFE, 0x1400_0001)
    sites, targets = CALLS["arm64"](struct.pack("<4I", *words), 0xFFFF_8000_0000_1000)
    assert sites.tolist() == [0xFFFF_8000_0000_1000, 0xFFFF_8000_0000_1008]
    assert targets.tolist() == [0xFFFF_8000_0000_1008, 0xFFFF_8000_0000_1000]


def test_x86_calls_go_both_ways() -> None:
    data = b"\x90\xe8" + struct.pack("<i", 10) + b"\xe8" + struct.pack("<i", -11) + b"\xe8\0"
    sites, targets = CALLS["x86_64"](data, 0xFFFF_FFFF_8100_0000)
    assert [va & 0xFF for va in sites.tolist()] == [1, 6]
    assert targets.tolist() == [0xFFFF_FFFF_8100_0010, 0xFFFF_FFFF_8100_0000]


def test_callers(learned: KernelFacts) -> None:
    assert {site.function for site in scan.callers(learned, "pgd_alloc")} == {"mm_init"}
    for site in scan.callers(learned, "tlb_finish_mmu"):
        (step,) = scan.disassemble(learned, site.va, 1)
        assert step.mnemonic in ("call", "bl")
        assert int(step.operands.lstrip("#"), 16) == learned.va("tlb_finish_mmu")
    with pytest.raises(InfraError, match="no symbol"):
        scan.callers(learned, "no_such_function")


def test_disassembly_is_consecutive(learned: KernelFacts) -> None:
    va = learned.va("rest_init")
    steps = scan.disassemble(learned, va, 10)
    assert len(steps) == 10
    for before, after in pairwise(steps):
        assert after.va == before.va + len(before.data)
    assert learned.image.read(va, 4) == b"".join(step.data for step in steps)[:4]


def test_no_flush_changes_what_is_there(learned: KernelFacts) -> None:
    patches = mutations.no_flush(learned)
    assert patches
    for patch in patches:
        assert learned.image.read(patch.va, len(patch.old)) == patch.old
        assert len(patch.new) == len(patch.old)
        assert patch.expects(patch.old)
        assert not patch.expects(patch.new)


def test_no_flush_on_x86(learned: KernelFacts) -> None:
    if learned.arch != "x86_64":
        return
    (patch,) = mutations.no_flush(learned)
    steps = scan.disassemble(learned, learned.va("flush_tlb_mm_range"), 2)
    first = next(step for step in steps if step.mnemonic != "endbr64")
    assert patch.va == first.va
    assert first.mnemonic == "call"  # of __fentry__: nothing has run yet
    assert patch.new == b"\xc3"
    assert patch.expects(b"\x0f")


TLBI = re.compile(r"(r?v|as)[a-z]+1(is)?, x\w+")


def test_no_flush_on_arm64(learned: KernelFacts) -> None:
    """What tlb_finish_mmu and the zapping of a range call to flush has no TLBI left."""
    if learned.arch != "arm64":
        return
    patches = {patch.va: patch for patch in mutations.no_flush(learned)}
    for patch in patches.values():
        (old,) = scan.decode("arm64", patch.old, patch.va)
        (new,) = scan.decode("arm64", patch.new, patch.va)
        assert (old.mnemonic, new.mnemonic) == ("tlbi", "nop")
        assert TLBI.fullmatch(old.operands)
    start, data = scan.text(learned, learned.image)
    sites, targets = CALLS["arm64"](data, start)
    calls = dict(zip(sites.tolist(), targets.tolist(), strict=True))
    flushes = {calls[site.va] for site in unmapping(learned)}
    assert len(flushes) >= 2  # mm/memory.c and mm/mmu_gather.c have a copy each
    inner = {
        calls[step.va]
        for va in flushes
        for step in scan.function(learned, va)
        if step.va in calls and learned.symbols.at(calls[step.va])[0].startswith("__flush_tlb")
    }
    for va in flushes | inner:
        left = [s for s in scan.function(learned, va) if s.mnemonic == "tlbi"]
        assert left
        assert {step.va for step in left} <= set(patches)


def unmapping(learned: KernelFacts) -> list[scan.CallSite]:
    zap = {"unmap_page_range", "__zap_vma_range", "tlb_finish_mmu", "tlb_flush_mmu"}
    found = [site for site in scan.callers(learned, "tlb_flush") if site.function in zap]
    assert {"tlb_finish_mmu", "tlb_flush_mmu"} < {site.function for site in found}
    return found


def test_no_flush_without_its_function(learned: KernelFacts) -> None:
    gone = [n for n in learned.symbols if "tlb_f" in n or n.startswith("flush_tlb_mm")]
    bare = without(learned, *gone)
    with pytest.raises(InfraError, match=r"No TLBI|no symbol 'flush_tlb_mm_range'"):
        mutations.no_flush(bare)


def test_text_is_the_kernels(learned: KernelFacts) -> None:
    start, data = scan.text(learned, learned.image)
    assert start == learned.va("_stext")
    assert start + len(data) == learned.va("_etext")
