"""Text by which a running kernel is found, wherever KASLR has put it.

The anchor is the beginning of ``start_kernel`` (init/main.c): it runs once, at the kernel's final
address, after the image was moved and relocated, and before any code that patches text or that a
plan names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from shootdown.errors import InfraError
from shootdown.kernel.disassembler import engine
from shootdown.kernel.facts import KernelFacts

SYMBOL: Final = "start_kernel"
_BYTES: Final = 64
"""Bytes of text that are compared; the plugin takes no more (plugin/anchor.h)."""
_LEAST: Final = 16
"""Bytes of them that must be fixed, or anything might match."""


def line(facts: KernelFacts) -> str:
    """The plan's directive. Raises InfraError when the kernel's text does not do."""
    va = facts.va(SYMBOL)
    data = facts.image.read(va, _BYTES)
    fixed = _FIXED[facts.arch](data, va)
    if sum(fixed) < _LEAST:
        raise InfraError(
            f"{facts.path} has no usable text at {SYMBOL} ({va:#x}): only {sum(fixed)} bytes there "
            "are the same wherever it runs; check that its symbols are its own."
        )
    text = "".join(f"{byte:02x}" if same else "??" for byte, same in zip(data, fixed, strict=True))
    return f"anchor {va:#x} {text}"


def _x86_64(data: bytes, va: int) -> list[bool]:
    """Opcodes: numbers of four bytes and more may be addresses, which are relocated."""
    fixed = [False] * len(data)
    for insn in engine("x86_64", detail=True).disasm(data, va):
        start = insn.address - va
        fixed[start : start + insn.size] = [True] * insn.size
        encoding = insn.encoding
        for offset, size in (
            (encoding.disp_offset, encoding.disp_size),
            (encoding.imm_offset, encoding.imm_size),
        ):
            if offset and size >= 4:
                fixed[start + offset : start + offset + size] = [False] * size
    return fixed


def _arm64(data: bytes, va: int) -> list[bool]:
    """Everything but hints: text has no relocations, and the kernel may do without PACIASP."""
    fixed: list[bool] = []
    for at in range(0, len(data), 4):
        word = int.from_bytes(data[at : at + 4], "little")
        fixed += [word & 0xFFFFF01F != 0xD503201F] * 4
    return fixed


_FIXED: Final[dict[str, Callable[[bytes, int], list[bool]]]] = {"x86_64": _x86_64, "arm64": _arm64}
