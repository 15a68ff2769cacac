"""Instructions of a kernel's functions, and other ones to put in their place."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final, NamedTuple

from shootdown.errors import InfraError
from shootdown.kernel import disassembler
from shootdown.kernel.facts import KernelFacts


class Instruction(NamedTuple):
    """One instruction."""

    va: int
    code: bytes
    name: str
    """Mnemonic."""
    operands: str
    where: str
    """``function+offset``."""


EQUAL: Final = ("je", "b.eq")
UNEQUAL: Final = ("jne", "b.ne")
CALL: Final = ("call", "bl")
_JMP_REL32: Final = b"\xe9"
_JMP_REL8: Final = b"\xeb"
_NOPS: Final = {
    2: bytes.fromhex("6690"),
    5: bytes.fromhex("0f1f440000"),
    6: bytes.fromhex("660f1f440000"),
}
_NOP: Final = bytes.fromhex("1f2003d5")
_B: Final = 0b000101 << 26
"""arm64, ``b``: the distance in words in the low 26 bits."""
_BL: Final = 0b100101 << 26


def body(facts: KernelFacts, names: Iterable[str]) -> list[Instruction]:
    """The instructions of functions, whatever suffix a compiler gave them; empty for none."""
    wanted = tuple(names)
    symbols = facts.symbols
    starts = {va for n in symbols if n.partition(".")[0] in wanted for va in symbols.all_of(n)}
    found = []
    for start in sorted(starts):
        data = facts.image.read(start, symbols.next_after(start) - start)
        name, _ = symbols.at(start)
        engine = disassembler.engine(facts.arch, skipdata=True)
        found += [
            Instruction(
                i.address, bytes(i.bytes), i.mnemonic, i.op_str, f"{name}+{i.address - start:#x}"
            )
            for i in engine.disasm(data, start)
        ]
    return found


def never(arch: str, branch: Instruction) -> bytes:
    """Instead of a conditional branch one that is not taken."""
    return _NOP if arch == "arm64" else _NOPS[len(branch.code)]


def always(arch: str, branch: Instruction) -> bytes:
    """Instead of a conditional branch one that is always taken."""
    if arch == "arm64":
        (word,) = struct.unpack("<I", branch.code)
        distance = (word >> 5 & 0x7FFFF ^ 1 << 18) - (1 << 18)
        return struct.pack("<I", _B | distance & 0x3FFFFFF)
    if len(branch.code) == len(_NOPS[2]):
        return _JMP_REL8 + branch.code[1:]
    return b"\x90" + _JMP_REL32 + branch.code[2:]  # of the same length, to the same place


def calls(facts: KernelFacts, code: Iterable[Instruction], function: str) -> list[Instruction]:
    """Those of the instructions that call the function."""
    target = f"{facts.va(function):#x}"
    return [one for one in code if one.name in CALL and one.operands.lstrip("#") == target]


def call_to(arch: str, call: Instruction, target: int) -> bytes:
    """Instead of a call one of the function at the VA ``target``."""
    if arch == "arm64":
        return struct.pack("<I", _BL | (target - call.va >> 2) & 0x3FFFFFF)
    return call.code[:1] + struct.pack("<i", target - call.va - len(call.code))


def returns_one(arch: str) -> bytes:
    """Instead of a call the result 1: as long as a call."""
    return bytes.fromhex("20008052") if arch == "arm64" else bytes.fromhex("b801000000")


def refuse(facts: KernelFacts, where: str) -> InfraError:
    """What to raise when nothing is found that could be changed."""
    return InfraError(
        f"{where} of {facts.release} is not what the mutation changes; "
        "this kernel's text cannot be changed that way."
    )
