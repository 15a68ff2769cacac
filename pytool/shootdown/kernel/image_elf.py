"""ELF kernels: segments, notes and, where it was kept, the symbol table."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from shootdown.errors import InfraError
from shootdown.kernel.symbols import SymbolTable

MAGIC: Final = b"\x7fELF"
_PT_LOAD: Final = 1
_SHT_SYMTAB: Final = 2
_NT_GNU_BUILD_ID: Final = 3
_LITTLE_64: Final = b"\x02\x01"
_PROGRAM_HEADER: Final = "<IIQQQQQQ"
_SECTION_HEADER: Final = "<IIQQQQIIQQ"
_SYMBOL: Final = np.dtype(
    [
        ("name", "<u4"),
        ("info", "u1"),
        ("other", "u1"),
        ("shndx", "<u2"),
        ("value", "<u8"),
        ("size", "<u8"),
    ]
)


@dataclass(frozen=True)
class Elf:
    """What the tool wants of an ELF file."""

    machine: int
    """e_machine."""
    segments: tuple[tuple[int, bytes], ...]
    """VA and file content of each loaded segment."""
    symbols: SymbolTable | None
    """The symbol table, unless the file was stripped."""


def parse(data: bytes, what: str) -> Elf:
    """Take a 64-bit little-endian ELF file apart; ``what`` names it in errors.

    Raises InfraError when the file is of another kind or truncated.
    """
    if data[4:6] != _LITTLE_64:
        raise InfraError(
            f"{what} is no 64-bit little-endian ELF file; use one for x86-64 or arm64."
        )
    try:
        (machine,) = struct.unpack_from("<H", data, 18)
        segments = tuple(_segments(data))
        symbols = _symbols(data)
    except (struct.error, ValueError):
        raise InfraError(f"{what} is a truncated ELF file; fetch or build it again.") from None
    if not segments:
        raise InfraError(f"{what} is an ELF file without loadable segments, so not a kernel.")
    return Elf(machine, segments, symbols)


def _table(data: bytes, at: int, entry: int, count: int, form: str) -> Iterator[tuple[int, ...]]:
    for number in range(count):
        yield struct.unpack_from(form, data, at + number * entry)


def _cut(data: bytes, offset: int, size: int) -> bytes:
    if offset + size > len(data):
        raise ValueError("beyond the end of the file")
    return data[offset : offset + size]


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    (at,) = struct.unpack_from("<Q", data, 32)
    entry, count = struct.unpack_from("<HH", data, 54)
    for kind, _, offset, va, _, size, _, _ in _table(data, at, entry, count, _PROGRAM_HEADER):
        if kind == _PT_LOAD and size:
            yield va, _cut(data, offset, size)


def _symbols(data: bytes) -> SymbolTable | None:
    (at,) = struct.unpack_from("<Q", data, 40)
    entry, count = struct.unpack_from("<HH", data, 58)
    sections = list(_table(data, at, entry, count, _SECTION_HEADER))
    for _, kind, _, _, offset, size, link, _, _, _ in sections:
        if kind == _SHT_SYMTAB:
            _, _, _, _, strings, length, *_ = sections[link]
            return _decode(_cut(data, offset, size), _cut(data, strings, length))
    return None


def _decode(table: bytes, strings: bytes) -> SymbolTable | None:
    entries = np.frombuffer(table, _SYMBOL, len(table) // _SYMBOL.itemsize)
    # Functions, objects and plain labels that are defined; no sections, no files.
    entries = entries[((entries["info"] & 0xF) <= 2) & (entries["shndx"] != 0)]
    names, vas = [], []
    for at, va in zip(entries["name"].tolist(), entries["value"].tolist(), strict=True):
        name = strings[at : strings.find(b"\0", at)].decode("ascii", "replace")
        # "$x" and "$d" mark code and data on arm64.
        if name and not name.startswith("$"):
            names.append(name)
            vas.append(va)
    return SymbolTable(names, np.array(vas, dtype=np.uint64)) if names else None


def build_ids(data: bytes) -> list[str]:
    """Every GNU build-id note in the data, as hexadecimal digits, in order."""
    found = []
    at = data.find(b"GNU\0")
    while at >= 0:
        if at >= 12:
            name, size, kind = struct.unpack_from("<III", data, at - 12)
            if name == 4 and kind == _NT_GNU_BUILD_ID and 8 <= size <= 64:
                found.append(data[at + 4 : at + 4 + size].hex())
        at = data.find(b"GNU\0", at + 1)
    return found
