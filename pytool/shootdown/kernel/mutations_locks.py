"""Mutations of locks, and of who looks at them. See ``mutations``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from shootdown.kernel.facts import KernelFacts
from shootdown.kernel.mutation_text import (
    EQUAL,
    UNEQUAL,
    Instruction,
    always,
    body,
    calls,
    never,
    refuse,
    returns_one,
)
from shootdown.kernel.mutations import Patch

_WINDOW: Final = 8
"""Instructions between what is loaded, what is compared and what is done about it."""
_MEMORY: Final = re.compile(r"\[\w+(?: \+ |, #)(0x[0-9a-f]+|\d+)\]")
_ADDEND: Final = re.compile(r"(?:\w+, )?(\w+), #?(0x[0-9a-f]+|\d+)")


def mprotect_no_vma_lock(facts: KernelFacts) -> list[Patch]:
    """mprotect takes every VMA for locked to write already, and changes it under mmap_lock alone.

    In ``mprotect_fixup()`` the comparison of ``vm_lock_seq`` and ``mm_lock_seq``
    (``vma_start_write()``) comes out equal. Raises InfraError when the kernel has no such thing.
    """
    found = list(_sequences(facts, body(facts, ("mprotect_fixup",))))[:1]
    return _patched(facts, found, equal=True, why="every VMA looks locked")


def vma_lock_unchecked(facts: KernelFacts) -> list[Patch]:
    """A fault takes the lock of a VMA to read though somebody has it locked to write.

    In ``lock_vma_under_rcu()`` the comparisons of ``vm_lock_seq`` and ``mm_lock_seq``
    (``vma_start_read()``) come out unequal. Raises InfraError when the kernel has no such thing.
    """
    found = _sequences(facts, body(facts, ("lock_vma_under_rcu", "vma_start_read")))
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
    for one in body(facts, _LOCKING):
        added = _ADDEND.fullmatch(one.operands)
        if one.name != "add" or not added or added[1] in ("rsp", "sp"):
            continue
        if int(added[2], 0) == own:
            new = _with_addend(facts.arch, one.code, other)
            patches.append(Patch(one.va, one.code, new, f"another lock at {one.where}"))
    if not patches:
        raise refuse(facts, "what locks a page table")
    return patches


def contended_fault_refused(facts: KernelFacts) -> list[Patch]:
    """A fault that has to wait for mmap_lock ends as if there was no VMA.

    In ``lock_mm_and_find_vma()`` the lock is not waited for, as if the task had been killed. Raises
    InfraError when the kernel has no such function.
    """
    code = body(facts, ("lock_mm_and_find_vma",))
    found = calls(facts, code, "down_read_killable") if code else []
    if not found:
        raise refuse(facts, "lock_mm_and_find_vma()")
    new = returns_one(facts.arch)
    return [Patch(one.va, one.code, new, f"no wait at {one.where}") for one in found]


_LOCKING: Final = (
    *("__pte_offset_map_lock", "pte_offset_map_lock", "pte_offset_map_nolock"),
    *("pte_offset_map_ro_nolock", "pte_offset_map_rw_nolock"),
)


def _with_addend(arch: str, code: bytes, value: int) -> bytes:
    if arch == "arm64":
        word = int.from_bytes(code, "little") & ~(0xFFF << 10)
        return (word | value << 10).to_bytes(4, "little")
    return code[:-1] + bytes([value])  # add r64, imm8


def _sequences(facts: KernelFacts, code: list[Instruction]) -> Iterator[Instruction]:
    """Branches by a comparison of what the two sequence words hold."""
    words = {facts.member(name).offset for name in ("vm_area_struct.vm_lock_seq", _MM_SEQ)}
    for at, one in enumerate(code):
        near = code[max(at - _WINDOW, 0) : at + 1]
        seen = {offset for before in near for offset in _offsets(before)}
        if one.name == "cmp" and words <= seen and words.issuperset(_offsets(one)):
            branch = code[at + 1 : at + 2]
            if branch and branch[0].name in (*EQUAL, *UNEQUAL):
                yield branch[0]


_MM_SEQ: Final = "mm_struct.mm_lock_seq"


def _offsets(one: Instruction) -> Iterator[int]:
    """Where an instruction reads, from a register on; arm64 may add the offset first (ldar)."""
    yield from (int(found, 0) for found in _MEMORY.findall(one.operands))
    added = _ADDEND.fullmatch(one.operands)
    if one.name == "add" and added:
        yield int(added[2], 0)


def _patched(
    facts: KernelFacts, branches: Iterable[Instruction], *, equal: bool, why: str
) -> list[Patch]:
    patches = []
    for branch in branches:
        take = (branch.name in EQUAL) is equal
        new = (always if take else never)(facts.arch, branch)
        patches.append(Patch(branch.va, branch.code, new, f"{why} at {branch.where}"))
    if not patches:
        raise refuse(facts, "what compares vm_lock_seq with mm_lock_seq")
    return patches
