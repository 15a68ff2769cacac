"""What mutations of locks, pins and waits change in the text of Debian's kernels."""

from __future__ import annotations

import pytest

from shootdown.errors import InfraError, UsageError
from shootdown.kernel import disassembler
from shootdown.kernel.facts import KernelFacts
from shootdown.kernel.mutations_edit import always, call_to, never
from shootdown.kernel.scan import Instruction
from shootdown.run.mutate import MUTATIONS

CHANGED = (
    *("fork-ignores-pins", "mprotect-no-vma-lock", "vma-lock-unchecked", "pte-wrong-lock"),
    *("contended-fault-refused", "lazy-no-catch-up", "tables-no-grace"),
    *("vma-detached-unchecked", "vma-bounds-unchecked", "zap-keeps-entry"),
)

NEEDS = {
    "mprotect-no-vma-lock": "vm_area_struct.vm_lock_seq",
    "vma-lock-unchecked": "vm_area_struct.vm_lock_seq",
    "vma-detached-unchecked": "vm_area_struct.detached",
    "vma-bounds-unchecked": "vm_area_struct.vm_lock_seq",
}
"""A member without which there is nothing to change."""
OF_X86 = ("lazy-no-catch-up", "zap-keeps-entry")
LOCKS_TABLES = ("__pte_offset_map_lock", "pte_offset_map_lock")


def possible(facts: KernelFacts, name: str) -> bool:
    if name in OF_X86:
        return facts.arch == "x86_64"
    if name == "pte-wrong-lock":
        return any(function in facts.symbols for function in LOCKS_TABLES)
    return name not in NEEDS or facts.has(NEEDS[name])


@pytest.mark.parametrize("name", CHANGED)
def test_patches(learned: KernelFacts, name: str) -> None:
    if not possible(learned, name):
        with pytest.raises((InfraError, UsageError)):
            MUTATIONS[name](learned)
        return
    patches = MUTATIONS[name](learned)
    assert patches
    assert len({patch.va for patch in patches}) == len(patches)
    engine = disassembler.engine(learned.arch)
    for patch in patches:
        assert learned.image.read(patch.va, len(patch.old)) == patch.old != patch.new
        assert len(patch.new) == len(patch.old)
        made = list(engine.disasm(patch.new, patch.va))
        assert sum(one.size for one in made) == len(patch.new)


@pytest.mark.parametrize(
    ("arch", "code", "name"),
    [
        ("x86_64", "7416", "je"),
        ("x86_64", "0f84d7000000", "je"),
        ("x86_64", "0f858dfeffff", "jne"),
        ("arm64", "c0000054", "b.eq"),
        ("arm64", "61fdff54", "b.ne"),
        ("arm64", "80030036", "tbz"),
        ("arm64", "60ff0736", "tbz"),
        ("arm64", "a0ffff34", "cbz"),
    ],
)
def test_branches_go_where_they_went(arch: str, code: str, name: str) -> None:
    va, engine = 0xFFFFFFFF81000000, disassembler.engine(arch)
    (old,) = engine.disasm(bytes.fromhex(code), va)
    assert old.mnemonic == name
    branch = Instruction(va, bytes(old.bytes), old.mnemonic, old.op_str)
    *_, made = engine.disasm(always(arch, branch), va)
    assert made.mnemonic in ("jmp", "b")
    assert made.op_str == old.op_str.rpartition(", ")[2]
    (nothing,) = engine.disasm(never(arch, branch), va)
    assert nothing.mnemonic == "nop"


@pytest.mark.parametrize(
    ("arch", "code", "distance"),
    [("x86_64", "e8b9eee5ff", -0x1234), ("arm64", "578df797", 0x2340)],
)
def test_calls_go_elsewhere(arch: str, code: str, distance: int) -> None:
    va, engine = 0xFFFFFFFF81000000, disassembler.engine(arch)
    call = Instruction(va, bytes.fromhex(code), "call", "")
    (made,) = engine.disasm(call_to(arch, call, va + distance), va)
    assert int(made.op_str.lstrip("#"), 0) == va + distance
