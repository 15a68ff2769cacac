"""Where a kernel function turns interrupts off and on again: ``local_irq_save()`` and its end.

arm64: ``msr daifset`` and ``msr daif`` (arch/arm64/include/asm/irqflags.h). x86: ``cli`` and
``sti``, or with CONFIG_PARAVIRT_XXL calls through ``pv_ops``, in whose place boot puts these
instructions (arch/x86/kernel/alternative.c); what follows the call is where it was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import capstone
from capstone import arm64, x86

from shootdown.kernel.btf import Member
from shootdown.kernel.disassembler import engine
from shootdown.kernel.image import KernelImage
from shootdown.kernel.symbols import SymbolTable

MEMBERS: Final = (
    "paravirt_patch_template.irq.irq_disable",
    "paravirt_patch_template.irq.irq_enable",
)
"""Looked up in the kernel's types, where it has them."""


@dataclass(frozen=True)
class Sites:
    """VAs of the first instructions with interrupts off, and of those that turn them on."""

    off: tuple[int, ...]
    on: tuple[int, ...]


def find(
    image: KernelImage, symbols: SymbolTable, members: dict[str, Member], va: int, end: int
) -> Sites:
    """The sites in the code from ``va`` to ``end`` (exclusive). Raises InfraError."""
    ops = symbols.get("pv_ops", 0)
    slots = [ops + members[name].offset if name in members else 0 for name in MEMBERS]
    off: list[int] = []
    on: list[int] = []
    decoder = engine(image.arch, detail=True, skipdata=True)
    for step in decoder.disasm(image.read(va, end - va), va):
        match _MEANINGS[image.arch](step, *slots):
            case "off":
                off.append(step.address + step.size)
            case "on":
                on.append(step.address)
    return Sites(tuple(off), tuple(on))


def _x86_64(step: capstone.CsInsn, disable: int, enable: int) -> str:
    if step.id in (x86.X86_INS_CLI, x86.X86_INS_STI):
        return "off" if step.id == x86.X86_INS_CLI else "on"
    if step.id != x86.X86_INS_CALL or step.operands[0].type != x86.X86_OP_MEM:
        return ""
    where = step.operands[0].mem
    slot = where.disp + (step.address + step.size if where.base == x86.X86_REG_RIP else 0)
    slot %= 1 << 64
    return {disable: "off", enable: "on"}.get(slot, "") if slot else ""


def _arm64(step: capstone.CsInsn, *_: int) -> str:
    if step.id != arm64.ARM64_INS_MSR:
        return ""
    target = step.op_str.split(",")[0].lower()
    return {"daifset": "off", "daif": "on"}.get(target, "")


_MEANINGS: Final[dict[str, Callable[..., str]]] = {"x86_64": _x86_64, "arm64": _arm64}
"""By architecture: what an instruction does to interrupts, as far as that is known."""
