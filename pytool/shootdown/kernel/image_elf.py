"""ELF kernels: segments, notes and, where they were kept, symbols and debugging sections."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from shootdown.errors import InfraError
from shootdown.kernel.symbols import SymbolTable, listed

MAGIC: Final = b"\x7fELF"
_PT_LOAD: Final = 1
_PT_NOTE: Final = 4
_SHT_SYMTAB: Final = 2
_SHT_NOBITS: Final = 8
_NT_GNU_BUILD_ID: Final = 3
_XEN_ELFNOTE_PHYS32_ENTRY: Final = 18
_64_BIT: Final = 2
_LITTLE: Final = 1
_HEADER_BYTES: Final = 64
_TYPE_AT: Final = 16
_ET_REL: Final = b"\1\0"
_PROGRAM_HEADER: Final = struct.Struct("<IIQQQQQQ")
_SECTION_HEADER: Final = struct.Struct("<IIQQQQIIQQ")
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


class Content(Protocol):
    """The content of a file: ``bytes``, or what reads a large file piece by piece."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> bytes: ...


class FileContent:
    """A file's content, of which a slice is read when it is asked for. Raises OSError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._size = path.stat().st_size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice, /) -> bytes:
        start, stop, _ = part.indices(self._size)
        with self._path.open("rb") as file:
            file.seek(start, os.SEEK_SET)
            return file.read(max(0, stop - start))


@dataclass(frozen=True)
class Elf:
    """What the tool wants of an ELF file."""

    machine: int
    """e_machine."""
    segments: tuple[tuple[int, bytes], ...] = field(repr=False)
    """VA and file content of each loaded segment."""
    symbols: SymbolTable | None = field(repr=False)
    """The symbol table, unless the file was stripped."""
    sections: dict[str, tuple[int, int]] = field(repr=False)
    """Offset in the file and bytes of each section that has content, by name."""
    pvh: bool
    """Whether a note tells where a virtual machine may enter it (CONFIG_PVH)."""


def parse(data: Content, what: str) -> Elf:
    """Take a 64-bit little-endian ELF file apart; ``what`` names it in errors.

    Raises InfraError when the file is of another kind or truncated.
    """
    header = data[:_HEADER_BYTES]
    if kind := _foreign(header):
        raise InfraError(f"{what} is a {kind} ELF file; use a kernel for x86-64 or arm64.")
    if header[_TYPE_AT : _TYPE_AT + 2] == _ET_REL:
        raise InfraError(f"{what} is an object file or a module; give the kernel's vmlinux.")
    try:
        (machine,) = struct.unpack_from("<H", header, 18)
        programs, sections = _programs(data, header), _sections(data, header)
        segments = tuple(_segments(data, programs))
        symbols = _symbols(data, sections)
        elf = Elf(machine, segments, symbols, _named(data, header, sections), _pvh(data, programs))
    except (struct.error, ValueError, IndexError):
        raise InfraError(f"{what} is a truncated ELF file; fetch or build it again.") from None
    if not segments:
        raise InfraError(f"{what} is an ELF file without loadable segments, so not a kernel.")
    return elf


def _foreign(header: bytes) -> str:
    """Of what kind the file is when it is not for a 64-bit little-endian machine, else empty."""
    if header[4:5] and header[4] != _64_BIT:
        return "32-bit"
    return "big-endian" if header[5:6] and header[5] != _LITTLE else ""


def _cut(data: Content, offset: int, size: int) -> bytes:
    if offset + size > len(data):
        raise ValueError("beyond the end of the file")
    return data[offset : offset + size]


def _table(
    data: Content, at: int, entry: int, count: int, form: struct.Struct
) -> list[tuple[int, ...]]:
    whole = _cut(data, at, entry * count)
    return [form.unpack_from(whole, number * entry) for number in range(count)]


def _programs(data: Content, header: bytes) -> list[tuple[int, ...]]:
    (at,) = struct.unpack_from("<Q", header, 32)
    entry, count = struct.unpack_from("<HH", header, 54)
    return _table(data, at, entry, count, _PROGRAM_HEADER)


def _sections(data: Content, header: bytes) -> list[tuple[int, ...]]:
    (at,) = struct.unpack_from("<Q", header, 40)
    entry, count = struct.unpack_from("<HH", header, 58)
    return _table(data, at, entry, count, _SECTION_HEADER)


def _segments(data: Content, programs: list[tuple[int, ...]]) -> Iterator[tuple[int, bytes]]:
    for kind, _, offset, va, _, size, _, _ in programs:
        if kind == _PT_LOAD and size:
            yield va, _cut(data, offset, size)


def _named(
    data: Content, header: bytes, sections: list[tuple[int, ...]]
) -> dict[str, tuple[int, int]]:
    (index,) = struct.unpack_from("<H", header, 62)
    if not sections or not index:
        return {}
    _, _, _, _, offset, size, *_ = sections[index]
    strings = _cut(data, offset, size)
    return {
        strings[name : strings.find(b"\0", name)].decode("ascii", "replace"): (start, length)
        for name, kind, _, _, start, length, *_ in sections
        if kind not in (0, _SHT_NOBITS)
    }


def _pvh(data: Content, programs: list[tuple[int, ...]]) -> bool:
    """include/xen/interface/elfnote.h; arch/x86/platform/pvh/head.S writes the note."""
    note = struct.pack("<I", _XEN_ELFNOTE_PHYS32_ENTRY) + b"Xen\0"
    return any(
        note in _cut(data, offset, size)
        for kind, _, offset, _, _, size, _, _ in programs
        if kind == _PT_NOTE
    )


def _symbols(data: Content, sections: list[tuple[int, ...]]) -> SymbolTable | None:
    for _, kind, _, _, offset, size, link, _, _, _ in sections:
        if kind == _SHT_SYMTAB:
            _, _, _, _, strings, length, *_ = sections[link]
            return _decode(_cut(data, offset, size), _cut(data, strings, length))
    return None


def _decode(table: bytes, strings: bytes) -> SymbolTable | None:
    entries = np.frombuffer(table, _SYMBOL, len(table) // _SYMBOL.itemsize)
    # Functions, objects and plain labels that are defined; no sections, no files.
    entries = entries[((entries["info"] & 0xF) <= 2) & (entries["shndx"] != 0)]
    names = (
        strings[at : strings.find(b"\0", at)].decode("ascii", "replace")
        for at in entries["name"].tolist()
    )
    return listed(zip(names, entries["value"].tolist(), strict=True))


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
