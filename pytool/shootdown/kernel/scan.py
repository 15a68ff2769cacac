"""Looks into kernel text: who calls a function, and its instructions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from shootdown.errors import InfraError
from shootdown.kernel.disassembler import engine
from shootdown.kernel.facts import KernelFacts
from shootdown.kernel.image import KernelImage
from shootdown.kernel.scan_text import CALLS

"""What capstone calls the architectures."""
_LONGEST: Final = {"x86_64": 15, "arm64": 4}
"""Bytes of the longest instruction."""


@dataclass(frozen=True)
class CallSite:
    """One call instruction."""

    va: int
    function: str
    """Name of the function it is in."""
    offset: int
    """Bytes from that function's start."""

    def __str__(self) -> str:
        return f"{self.function}+{self.offset:#x}"


@dataclass(frozen=True)
class Instruction:
    """One disassembled instruction."""

    va: int
    data: bytes
    mnemonic: str
    operands: str

    def __str__(self) -> str:
        return f"{self.va:#x}: {self.data.hex()} {self.mnemonic} {self.operands}".rstrip()


def decode(arch: str, data: bytes, va: int) -> Iterator[Instruction]:
    """The instructions of ``data``, which starts at ``va``; what is none is skipped."""
    steps = engine(arch, skipdata=True).disasm_lite(data, va)
    for address, size, mnemonic, operands in steps:
        yield Instruction(address, data[address - va : address - va + size], mnemonic, operands)


def disassemble(facts: KernelFacts, va: int, n: int) -> list[Instruction]:
    """The ``n`` instructions from the VA ``va`` on, as the file holds them.

    The running kernel patches itself: alternatives, ftrace, static keys. Raises InfraError when
    the image does not hold that much at ``va``.
    """
    data = facts.image.read(va, n * _LONGEST[facts.arch])
    return list(decode(facts.arch, data, va))[:n]


def function(facts: KernelFacts, va: int) -> list[Instruction]:
    """The instructions of the function at ``va``, up to the next symbol. Raises InfraError."""
    return list(decode(facts.arch, facts.image.read(va, facts.symbols.next_after(va) - va), va))


def text(facts: KernelFacts, image: KernelImage) -> tuple[int, bytes]:
    """VA of the first byte of the kernel's text (``_stext``), and the text up to ``_etext``."""
    start = facts.va("_stext")
    segment = next((s for s in image.segments if s.va <= start < s.end), None)
    if segment is None:
        raise InfraError(f"{facts.path} holds nothing at _stext ({start:#x}); the image is odd.")
    end = min(facts.symbols.get("_etext", segment.end), segment.end)
    return start, segment.data[start - segment.va : end - segment.va]


def callers(facts: KernelFacts, name: str) -> list[CallSite]:
    """Every direct call of the function, in order of VA. Raises InfraError when there is none such.

    Jumps that end another function (tail calls) and calls through pointers are not among them.
    """
    start, data = text(facts, facts.image)
    sites, targets = CALLS[facts.arch](data, start)
    wanted = np.array(facts.symbols.all_of(name) or [facts.va(name)], dtype=np.uint64)
    found = [CallSite(va, *facts.symbols.at(va)) for va in sites[np.isin(targets, wanted)].tolist()]
    return [site for site in found if _is_instruction(facts, site)]


def _is_instruction(facts: KernelFacts, site: CallSite) -> bool:
    """Whether the bytes are an instruction of their function, not the inside of another one."""
    start = site.va - site.offset
    data = facts.image.read(start, site.offset + _LONGEST[facts.arch])
    return any(step.va == site.va for step in decode(facts.arch, data, start))
