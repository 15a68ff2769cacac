"""Mutations of locks, and of who looks at them. See ``mutations``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from shootdown.kernel.facts import KernelFacts
from shootdown.kernel.mutations import Patch
from shootdown.kernel.mutations_edit import EQUAL, UNEQUAL, always, never, returns_one
from shootdown.kernel.mutations_text import accesses, calls_of, code, needed, place
from shootdown.kernel.scan import Instruction

_WINDOW: Final = 8
"""Instructions between what is loaded, what is compared and what is done about it."""
_ADDEND: Final = re.compile(r"(?:\w+, )?(\w+), #?(0x[0-9a-f]+|\d+)")


def mprotect_no_vma_lock(facts: KernelFacts) -> list[Patch]:
    """mprotect takes every VMA for locked to write already, and changes it under mmap_lock alone.

    In ``mprotect_fixup()`` the comparison of ``vm_lock_seq`` and ``mm_lock_seq``
    (``vma_start_write()``) comes out equal. Raises InfraError when the kernel has no such thing.
    """
    found = list(_sequences(facts, code(facts, "mprotect_fixup")))[:1]
    return _patched(facts, found, equal=True, why="every VMA looks locked")


def vma_lock_unchecked(facts: KernelFacts) -> list[Patch]:
    """A fault takes the lock of a VMA to read though somebody has it locked to write.

    In ``lock_vma_under_rcu()`` the comparisons of ``vm_lock_seq`` and ``mm_lock_seq``
    (``vma_start_read()``) come out unequal. Raises InfraError when the kernel has no such thing.
    """
    found = _sequences(facts, code(facts, "lock_vma_under_rcu|vma_start_read"))
    return _patched(facts, found, equal=False, why="no VMA looks locked")


def pte_wrong_lock(facts: KernelFacts) -> list[Patch]:
    """Whoever takes the lock of a last-level table takes a word beside it instead.

    The functions that lock such a table, from 6.5 on out of line, all use ``page.mapping``, which
    page tables leave alone: they still exclude each other, but not who takes the table's own lock.
    Raises InfraError when the kernel has no such functions.
    """
    own = facts.member("ptdesc.ptl" if facts.has("ptdesc.ptl") else "page.ptl").offset
    other = facts.member("page.mapping").offset
    patches = []
    for one in code(facts, _LOCKING):
        added = _ADDEND.fullmatch(one.operands)
        if one.mnemonic != "add" or not added or added[1] in ("rsp", "sp"):
            continue
        if int(added[2], 0) == own:
            new = _with_addend(facts.arch, one.data, other)
            patches.append(Patch(one.va, one.data, new, f"another lock at {place(facts, one.va)}"))
    return needed(facts, patches, "function of its own that locks a page table")


def contended_fault_refused(facts: KernelFacts) -> list[Patch]:
    """A fault that has to wait for mmap_lock ends as if there was no VMA.

    In ``lock_mm_and_find_vma()`` the lock is not waited for, as if the task had been killed. Raises
    InfraError when the kernel has no such function.
    """
    found = calls_of(facts, "down_read_killable", "lock_mm_and_find_vma")
    new = returns_one(facts.arch)
    patches = [Patch(c.va, c.data, new, f"no wait at {place(facts, c.va)}") for c in found]
    return needed(facts, patches, "wait in lock_mm_and_find_vma()")


_LOCKING: Final = "(__)?pte_offset_map_lock|pte_offset_map_(ro_|rw_)?nolock"


def _with_addend(arch: str, old: bytes, value: int) -> bytes:
    if arch == "arm64":
        word = int.from_bytes(old, "little") & ~(0xFFF << 10)
        return (word | value << 10).to_bytes(4, "little")
    return old[:-1] + bytes([value])  # add r64, imm8


def _sequences(facts: KernelFacts, steps: list[Instruction]) -> Iterator[Instruction]:
    """Branches by a comparison of what the two sequence words hold."""
    words = {facts.member(name).offset for name in ("vm_area_struct.vm_lock_seq", _MM_SEQ)}
    for at, one in enumerate(steps):
        near = steps[max(at - _WINDOW, 0) : at + 1]
        seen = {offset for before in near for offset in _offsets(before)}
        if one.mnemonic == "cmp" and words <= seen and words.issuperset(_offsets(one)):
            branch = steps[at + 1 : at + 2]
            if branch and branch[0].mnemonic in (*EQUAL, *UNEQUAL):
                yield branch[0]


_MM_SEQ: Final = "mm_struct.mm_lock_seq"


def _offsets(one: Instruction) -> Iterator[int]:
    """Where an instruction reads, from a register on; arm64 may add the offset first (ldar)."""
    yield from (offset for _, offset in accesses(one) if offset)
    added = _ADDEND.fullmatch(one.operands)
    if one.mnemonic == "add" and added:
        yield int(added[2], 0)


def _patched(
    facts: KernelFacts, branches: Iterable[Instruction], *, equal: bool, why: str
) -> list[Patch]:
    patches = []
    for branch in branches:
        take = (branch.mnemonic in EQUAL) is equal
        new = (always if take else never)(facts.arch, branch)
        patches.append(Patch(branch.va, branch.data, new, f"{why} at {place(facts, branch.va)}"))
    return needed(facts, patches, "comparison of vm_lock_seq with mm_lock_seq")
