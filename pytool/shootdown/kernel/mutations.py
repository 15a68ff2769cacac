"""Known bugs, put into the text of a running kernel: bytes to change, and what is there before.

Positive controls: a checker that stays silent on a kernel changed like this is not done.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from shootdown.errors import InfraError
from shootdown.kernel.facts import KernelFacts
from shootdown.kernel.scan_text import CALLS


@dataclass(frozen=True)
class Patch:
    """One change of kernel text. Apply it with the guest stopped, after boot."""

    va: int
    old: bytes
    """What the image file holds at ``va``."""
    new: bytes
    why: str
    """What the change does, for the report."""
    patched: tuple[bytes, ...] = ()
    """What boot-time patching may have made of ``old``."""

    def expects(self, found: bytes) -> bool:
        """Whether ``found``, read from the guest at ``va``, is what the change was made for."""
        return found == self.old or found in self.patched


def no_flush(facts: KernelFacts) -> list[Patch]:
    """munmap, MAP_FIXED and whatever else gathers its flushes leave the TLBs as they are.

    x86-64: ``flush_tlb_mm_range`` returns at once, so nothing flushes a user address space but
    loading CR3. arm64: in ``tlb_flush`` (arch/arm64/include/asm/tlb.h), which each file that uses
    ``struct mmu_gather`` has a copy of, and in what it calls, every TLBI becomes a NOP. That takes
    the flushes of munmap, MAP_FIXED, mprotect, madvise and exit; those of fork, of mremap and of
    single entries (``ptep_clear_flush``) are elsewhere and stay.

    Raises InfraError when the kernel's text does not have what is to be changed.
    """
    return _NO_FLUSH[facts.arch](facts)


_ENDBR64: Final = bytes.fromhex("f30f1efa")
_RET: Final = b"\xc3"
_CALL: Final = b"\xe8"
_NOP5: Final = bytes.fromhex("0f1f440000")


def _no_flush_x86_64(facts: KernelFacts) -> list[Patch]:
    va = facts.va("flush_tlb_mm_range")
    if facts.image.read(va, 4) == _ENDBR64:
        va += len(_ENDBR64)
    old = facts.image.read(va, 1)
    # ftrace turns the call of __fentry__ into a 5-byte NOP; one byte of either is enough.
    patched = (_NOP5[:1],) if old == _CALL else ()
    return [Patch(va, old, _RET, "flush_tlb_mm_range returns at once", patched)]


_NOP: Final = bytes.fromhex("1f2003d5")
_SYS_EL1: Final = 0b1101_0101_0000_1000 << 16
"""SYS with op1 = 0, which EL1's TLBI forms have; CRn is 8, or 9 for the nXS forms."""
GATHER: Final = re.compile(
    r"(tlb_flush|tlb_flush_mmu|tlb_flush_mmu_tlbonly|tlb_finish_mmu|tlb_remove_table"
    r"|unmap_page_range|__zap_vma_range|zap_pte_range|free_pgtables)(\.[a-z]+(\.\d+)?)*"
)
"""Where ``tlb_flush`` is, or has been inlined; compilers add suffixes to names."""
RANGE: Final = re.compile(r"(__flush_tlb_range(_nosync)?|flush_tlb_mm)(\.[a-z]+(\.\d+)?)*")
"""What ``tlb_flush`` calls, when that has not been inlined."""


def _no_flush_arm64(facts: KernelFacts) -> list[Patch]:
    symbols = facts.symbols
    gather = {va for name in symbols if GATHER.fullmatch(name) for va in symbols.all_of(name)}
    flush = {
        va
        for name in symbols
        if name.partition(".")[0] == "tlb_flush"
        for va in symbols.all_of(name)
    }
    ranges = {va for start in flush for va in _called(facts, start) if _is_range(facts, va)}
    patches = [patch for va in sorted(gather | ranges) for patch in _tlbis(facts, va)]
    if not patches:
        raise InfraError(
            f"No TLBI was found on the unmap path of {facts.release}; "
            "this kernel's text cannot be changed that way."
        )
    return patches


def is_tlbi(word: int) -> bool:
    """Whether an instruction is a TLBI of EL1."""
    return word & 0xFFFF0000 == _SYS_EL1 and word >> 12 & 0xF in (8, 9)


def _is_range(facts: KernelFacts, va: int) -> bool:
    name, offset = facts.symbols.at(va)
    return offset == 0 and RANGE.fullmatch(name) is not None


def _called(facts: KernelFacts, va: int) -> list[int]:
    data = facts.image.read(va, facts.symbols.next_after(va) - va)
    targets: list[int] = CALLS[facts.arch](data, va)[1].tolist()
    return targets


def _tlbis(facts: KernelFacts, va: int) -> Iterator[Patch]:
    """Every TLBI of the function at ``va``."""
    data = facts.image.read(va, facts.symbols.next_after(va) - va)
    name, _ = facts.symbols.at(va)
    for at in range(0, len(data) - 3, 4):
        if is_tlbi(int.from_bytes(data[at : at + 4], "little")):
            yield Patch(va + at, data[at : at + 4], _NOP, f"no TLBI at {name}+{at:#x}")


_NO_FLUSH: Final[dict[str, Callable[[KernelFacts], list[Patch]]]] = {
    "x86_64": _no_flush_x86_64,
    "arm64": _no_flush_arm64,
}
