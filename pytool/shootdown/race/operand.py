"""Where an instruction loads from or stores to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import capstone

from shootdown.kernel.disassembler import engine

LONGEST: Final = 15
"""Bytes of the longest instruction."""
_WORD: Final = (1 << 64) - 1
_NAMES: Final = {"fp": "x29", "lr": "x30"}
_WHOLE: Final = re.compile(r"r\w+|x\d+|sp")
"""Registers of 64 bits that the gdbstub knows by these names."""


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
    """The operand of the instruction that ``data`` at the VA ``pc`` begins with.

    None when it has none, or its address is no sum of whole registers.
    """
    for instruction in engine(arch, detail=True).disasm(data, pc, 1):
        for operand in instruction.operands:
            if operand.type == capstone.CS_OP_MEM:
                return _of(instruction, operand)
    return None


def _of(instruction: capstone.CsInsn, operand: Any) -> Operand | None:
    memory, size = operand.mem, instruction.size
    shift = 1 << operand.shift.value if hasattr(operand, "shift") else 1
    registers = []
    for number, factor in (
        (memory.base, 1),
        (memory.index, getattr(memory, "scale", 1) * shift),
    ):
        name = instruction.reg_name(number) if number else ""
        name = _NAMES.get(name, name)
        if name and not _WHOLE.fullmatch(name):
            return None  # half a register, extended in one way or another
        if name:
            registers.append((name, factor))
    if getattr(memory, "segment", 0):
        return None
    relative = size if ("rip", 1) in registers else 0  # to the next instruction
    return Operand(size, tuple(registers), memory.disp + relative)
