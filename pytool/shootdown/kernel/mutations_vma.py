"""Mutations of the look-up of a VMA without mmap_lock: what is checked once it is locked.

``lock_vma_under_rcu()`` (mm/memory.c, from 6.17 on mm/mmap_lock.c) finds a VMA and then locks it.
In between the VMA may have been detached, or split, so it looks again. A kernel that does not is
wrong only for who is overtaken between two instructions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from shootdown.kernel.facts import KernelFacts
from shootdown.kernel.mutations import Patch
from shootdown.kernel.mutations_edit import always, never
from shootdown.kernel.mutations_text import accesses, code, needed, place, target
from shootdown.kernel.scan import Instruction

_LOOKUP: Final = "lock_vma_under_rcu"
_IF_ZERO: Final = ("je", "cbz", "tbz")
_IF_NOT: Final = ("jne", "cbnz", "tbnz")
_ORDER: Final = ("jb", "jae", "ja", "jbe", "b.hi", "b.ls", "b.lo", "b.hs")
"""Branches by which of two unsigned numbers is larger."""
_NEAR: Final = 3
"""Instructions from a load to the branch by what was loaded."""


def detached_unchecked(facts: KernelFacts) -> list[Patch]:
    """A fault takes a VMA that was detached after it was found.

    The branch by ``vma->detached`` (until 6.14) goes as if it was not. Raises InfraError when the
    kernel has no such thing.
    """
    patches = []
    if facts.has("vm_area_struct.detached"):
        offset = facts.member("vm_area_struct.detached").offset
        for found in _branches(code(facts, _LOOKUP), offset, (*_IF_ZERO, *_IF_NOT)):
            change = always if found.branch.mnemonic in _IF_ZERO else never
            patches.append(_patch(facts, found.branch, change(facts.arch, found.branch)))
    return needed(facts, patches, "branch by vma->detached in lock_vma_under_rcu()")


def bounds_unchecked(facts: KernelFacts) -> list[Patch]:
    """A fault takes a VMA that does not reach to its address any more when it has the lock.

    The branches by ``vm_start`` and ``vm_end`` are not taken: those that both go to one place,
    where the look-up is given up. Raises InfraError when the kernel has no such thing.
    """
    steps = code(facts, _LOOKUP)
    first, last = (
        list(_branches(steps, facts.member(f"vm_area_struct.{name}").offset, _ORDER))
        for name in ("vm_start", "vm_end")
    )
    patches = [
        _patch(facts, found.branch, never(facts.arch, found.branch))
        for low in first
        for high in last
        if low.base == high.base and target(low.branch) == target(high.branch) is not None
        for found in (low, high)
    ]
    return needed(facts, patches, "comparison with vm_start and vm_end in lock_vma_under_rcu()")


@dataclass(frozen=True)
class _Branch:
    branch: Instruction
    base: str
    """The register that what was compared was loaded from."""


def _branches(
    steps: list[Instruction], offset: int, mnemonics: tuple[str, ...]
) -> Iterator[_Branch]:
    """Branches right behind a load from ``offset`` bytes into something."""
    for at, one in enumerate(steps):
        bases = [base for base, distance in accesses(one) if distance == offset]
        behind = [after for after in steps[at + 1 : at + _NEAR] if after.mnemonic in mnemonics]
        if bases and behind:
            yield _Branch(behind[0], bases[0])


def _patch(facts: KernelFacts, branch: Instruction, new: bytes) -> Patch:
    return Patch(branch.va, branch.data, new, f"unchecked at {place(facts, branch.va)}")
