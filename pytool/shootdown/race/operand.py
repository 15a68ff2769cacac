"""Where an instruction loads from or stores to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import capstone

_ENGINES: Final = {
    "x86_64": (capstone.CS_ARCH_X86, capstone.CS_MODE_64),
    "arm64": (capstone.CS_ARCH_ARM64, capstone.CS_MODE_LITTLE_ENDIAN),
}
LONGEST: Final = 15
"""Bytes of the longest instruction."""
_WORD: Final = (1 << 64) - 1


@dataclass(frozen=True)
class Operand:
    """An instruction and its operand in memory."""

    size: int
    """Bytes of the instruction."""
    registers: tuple[tuple[str, int], ...]
    """What the address is the sum of: registers by the gdbstub's names, and their factors."""
    displacement: int

    def va(self, values: Mapping[str, int]) -> int:
        """The VA, the registers being ``values``."""
        total = self.displacement
        for name, factor in self.registers:
            total += values[name] * factor
        return total & _WORD


def decode(arch: str, data: bytes, pc: int) -> Operand | None:
    """The operand of the instruction that ``data`` at the VA ``pc`` begins with, if it has one."""
    engine = capstone.Cs(*_ENGINES[arch])
    engine.detail = True
    for instruction in engine.disasm(data, pc, 1):
        for operand in instruction.operands:
            if operand.type == capstone.CS_OP_MEM:
                return _of(instruction, operand.mem)
    return None


def _of(instruction: capstone.CsInsn, memory: object) -> Operand:
    names = [
        (instruction.reg_name(getattr(memory, part)), getattr(memory, "scale", 1) if index else 1)
        for index, part in enumerate(("base", "index"))
        if getattr(memory, part)
    ]
    displacement = int(getattr(memory, "disp"))  # noqa: B009
    if ("rip", 1) in names:  # relative to the next instruction
        displacement += instruction.size
    return Operand(instruction.size, tuple(names), displacement)
