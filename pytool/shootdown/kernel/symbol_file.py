"""A kernel's symbols as an ELF file, for debuggers: distribution kernels come without one.

No Python package of ours writes ELF files, and the file is no more than a header, a section that
stands for the image, and a symbol table (System V ABI, gABI chapter 4; elf.h).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from shootdown.kernel.facts import KernelFacts

_MACHINES: Final = {"x86_64": 62, "arm64": 183}
"""EM_X86_64, EM_AARCH64."""
_EXEC, _CURRENT, _LITTLE, _CLASS64 = 2, 1, 1, 2
_NOBITS, _SYMTAB, _STRTAB = 8, 2, 3
_ALLOC_EXEC: Final = 2 | 4
_GLOBAL: Final = 1 << 4
_OBJECT, _FUNC = 1, 2
_HEADER: Final = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION: Final = struct.Struct("<IIQQQQIIQQ")
_FIELDS: Final = {"name": "<u4", "info": "u1", "other": "u1", "section": "<u2"}
_SYMBOL: Final = np.dtype([*_FIELDS.items(), ("va", "<u8"), ("size", "<u8")])
_NAMES: Final = (b"", b".text", b".symtab", b".strtab", b".shstrtab")


class _Section(NamedTuple):
    kind: int
    flags: int = 0
    va: int = 0
    size: int = 0
    content: bytes = b""
    link: int = 0
    info: int = 0
    entry: int = 0


def write(path: Path, facts: KernelFacts, slide: int = 0) -> None:
    """Write every symbol that lies in the kernel's image, moved by ``slide`` bytes.

    Raises OSError when the file cannot be written, InfraError when the kernel does not say where
    its image begins and ends.
    """
    first, end = facts.va("_text"), facts.va("_end")
    table = facts.symbols
    inside = np.flatnonzero((table.vas >= first) & (table.vas < end))
    names, offsets = _strings([table.names[i].encode() for i in inside.tolist()])
    symbols = np.zeros(len(inside) + 1, _SYMBOL)
    mine, vas = symbols[1:], table.vas[inside]
    code = vas < np.uint64(facts.symbols.get("_etext", end))
    mine["name"], mine["va"], mine["section"] = offsets, vas + np.uint64(slide), 1
    mine["size"] = np.diff(vas, append=np.uint64(end))
    mine["info"] = _GLOBAL | np.where(code, _FUNC, _OBJECT)
    sections = [
        _Section(0),
        _Section(_NOBITS, _ALLOC_EXEC, first + slide, end - first),
        _Section(_SYMTAB, content=symbols.tobytes(), link=3, info=1, entry=_SYMBOL.itemsize),
        _Section(_STRTAB, content=names),
        _Section(_STRTAB, content=_strings(_NAMES[1:])[0]),
    ]
    path.write_bytes(_file(_MACHINES[facts.arch], sections))


def _strings(names: Sequence[bytes]) -> tuple[bytes, list[int]]:
    """A string table, and where each name is in it."""
    text, offsets = bytearray(1), []
    for name in names:
        offsets.append(len(text))
        text += name + b"\0"
    return bytes(text), offsets


def _file(machine: int, sections: Sequence[_Section]) -> bytes:
    at, bodies, headers = _HEADER.size, b"", b""
    names = [0, *_strings(_NAMES[1:])[1]]
    for name, one in zip(names, sections, strict=True):
        size = one.size or len(one.content)
        place = (one.va, at, size, one.link, one.info, 8 if one.kind else 0, one.entry)
        headers += _SECTION.pack(name, one.kind, one.flags, *place)
        bodies += one.content
        at += len(one.content)
    ident = b"\x7fELF" + bytes((_CLASS64, _LITTLE, _CURRENT)) + bytes(9)
    counts = (_HEADER.size, 0, 0, _SECTION.size, len(sections), len(sections) - 1)
    head = _HEADER.pack(ident, _EXEC, machine, _CURRENT, 0, 0, at, 0, *counts)
    return head + bodies + headers
