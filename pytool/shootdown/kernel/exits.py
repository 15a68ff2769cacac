"""Where a kernel function begins and where it ends: the places its entry and exit are seen at.

A function ends at a return, or at a jump to the start of another function (a tail call). Other
jumps out of it lead to code that boot patches away (``_static_cpu_has`` in
arch/x86/include/asm/cpufeature.h, behind ``_einittext``). What the compiler
moved out of line (``NAME.cold``) belongs to the function. Conditional jumps to other functions are
not taken for ends; a reader of the trace sees by the stack pointer that such a call is over.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from shootdown.errors import InfraError
from shootdown.kernel.disassembler import engine
from shootdown.kernel.image import KernelImage
from shootdown.kernel.symbols import SymbolTable

_SUFFIX: Final = re.compile(r"\.(isra|constprop)\.\d+")
_RETURN_THUNKS: Final = ("__x86_return_thunk", "srso_return_thunk", "srso_alias_return_thunk")
"""A return under CONFIG_MITIGATION_RETHUNK (arch/x86/lib/retpoline.S); boot may patch it."""
_RETURNS: Final = {"x86_64": ("ret", "retq"), "arm64": ("ret", "retaa", "retab")}
_JUMPS: Final = {"x86_64": "jmp", "arm64": "b"}


@dataclass(frozen=True)
class Places:
    """One function: VAs of its first instruction and of those that leave it."""

    entry: int
    returns: tuple[int, ...]
    tails: tuple[int, ...]
    """Jumps to other functions."""
    also: tuple[int, ...] = ()
    """Of code inside a function: further instructions that it may begin with."""


def find(image: KernelImage, symbols: SymbolTable, names: Iterable[str]) -> dict[str, Places]:
    """The places of each function that the kernel has; one that it has not is left out.

    A name stands for ``NAME.isra.N`` and ``NAME.constprop.N`` too. Static functions of one name
    cannot be told apart and are left out as well.
    """
    listed = by_stem(symbols)
    thunks = frozenset(symbols[name] for name in _RETURN_THUNKS if name in symbols)
    return {
        name: places
        for name in names
        if len(listed.get(name, ())) == 1
        and (places := _places(image, symbols, listed[name][0], thunks)) is not None
    }


def by_stem(symbols: SymbolTable) -> dict[str, list[str]]:
    """Full names by the name without the compiler's suffix; one entry for each address."""
    found: dict[str, list[str]] = {}
    last: dict[str, int] = {}
    for name, va in zip(symbols.names, symbols.vas.tolist(), strict=True):
        stem = _SUFFIX.sub("", name)
        if last.get(stem) != va:
            found.setdefault(stem, []).append(name)
            last[stem] = va
    return found


def _places(
    image: KernelImage, symbols: SymbolTable, name: str, thunks: frozenset[int]
) -> Places | None:
    # A jump into the function, or back to its start, does not leave it.
    parts = [symbols.extent(part) for part in (name, f"{name}.cold") if part in symbols]
    inside = {start for start, _ in parts}
    text_end = symbols.get("_etext", 1 << 64)
    returns: list[int] = []
    tails: list[int] = []
    for start, end in parts:
        try:
            data = image.read(start, end - start)
        except InfraError:
            return None
        for va, target in _leaving(image.arch, data, start):
            if target is None or target in thunks:
                returns.append(va)
            elif target not in inside and symbols.at(target)[1] == 0 and target < text_end:
                tails.append(va)
    return Places(parts[0][0], tuple(returns), tuple(tails))


def _leaving(arch: str, data: bytes, va: int) -> Iterator[tuple[int, int | None]]:
    """VAs of returns (with None) and of direct jumps (with the VA they go to)."""
    target = _TARGETS[arch]
    steps = engine(arch, skipdata=True).disasm_lite(data, va)
    for address, _, mnemonic, operands in steps:
        if mnemonic in _RETURNS[arch]:
            yield address, None
        elif mnemonic == _JUMPS[arch] and (to := target(operands)) is not None:
            yield address, to


def _x86_target(operands: str) -> int | None:
    return int(operands, 0) if operands.startswith("0x") else None


def _arm64_target(operands: str) -> int | None:
    return int(operands[1:], 0) if operands.startswith("#0x") else None


_TARGETS: Final[dict[str, Callable[[str], int | None]]] = {
    "x86_64": _x86_target,
    "arm64": _arm64_target,
}
