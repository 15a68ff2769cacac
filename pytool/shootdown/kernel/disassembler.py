"""Capstone, as this tool uses it: one engine for each architecture of a guest."""

from __future__ import annotations

from typing import Final

import capstone

_MODES: Final = {
    "x86_64": (capstone.CS_ARCH_X86, capstone.CS_MODE_64),
    "arm64": (capstone.CS_ARCH_ARM64, capstone.CS_MODE_LITTLE_ENDIAN),
}


def engine(arch: str, *, detail: bool = False, skipdata: bool = False) -> capstone.Cs:
    """A disassembler; ``detail`` for operands, ``skipdata`` to go on behind what is no code."""
    made = capstone.Cs(*_MODES[arch])
    made.detail, made.skipdata = detail, skipdata
    return made
