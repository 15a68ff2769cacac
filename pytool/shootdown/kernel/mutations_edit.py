"""Instructions to put in the place of others, of the same length."""

from __future__ import annotations

import struct
from typing import Final

from shootdown.kernel.scan import Instruction

NOPS: Final = {"x86_64": bytes.fromhex("0f1f440000"), "arm64": bytes.fromhex("1f2003d5")}
"""An instruction that does nothing, as long as a call."""
EQUAL: Final = ("je", "b.eq")
UNEQUAL: Final = ("jne", "b.ne")
_JMP_REL32: Final = b"\xe9"
_JMP_REL8: Final = b"\xeb"
_BRANCH_NOPS: Final = {2: bytes.fromhex("6690"), 6: bytes.fromhex("660f1f440000")}
_B: Final = 0b000101 << 26
"""arm64, ``b``: the distance in words in the low 26 bits."""
_TEST_BIT: Final = 0b011011
"""arm64, bits 25 to 30 of ``tbz`` and ``tbnz``, whose distance has 14 bits; others have 19."""
_BL: Final = 0b100101 << 26


def never(arch: str, branch: Instruction) -> bytes:
    """Instead of a conditional branch one that is not taken."""
    return NOPS[arch] if arch == "arm64" else _BRANCH_NOPS[len(branch.data)]


def always(arch: str, branch: Instruction) -> bytes:
    """Instead of a conditional branch one that is always taken."""
    if arch == "arm64":
        (word,) = struct.unpack("<I", branch.data)
        bits = 14 if word >> 25 & 0x3F == _TEST_BIT else 19
        distance = ((word >> 5 & (1 << bits) - 1) ^ 1 << bits - 1) - (1 << bits - 1)
        return struct.pack("<I", _B | distance & 0x3FFFFFF)
    if len(branch.data) == len(_BRANCH_NOPS[2]):
        return _JMP_REL8 + branch.data[1:]
    return b"\x90" + _JMP_REL32 + branch.data[2:]  # of the same length, to the same place


def call_to(arch: str, call: Instruction, target: int) -> bytes:
    """Instead of a call one of the function at the VA ``target``."""
    if arch == "arm64":
        return struct.pack("<I", _BL | (target - call.va >> 2) & 0x3FFFFFF)
    return call.data[:1] + struct.pack("<i", target - call.va - len(call.data))


def returns_one(arch: str) -> bytes:
    """Instead of a call the result 1: as long as a call."""
    return bytes.fromhex("20008052") if arch == "arm64" else bytes.fromhex("b801000000")
