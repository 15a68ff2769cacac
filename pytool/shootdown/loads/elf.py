"""What a dynamically linked program asks of its surroundings: an interpreter and libraries.

Read from the program headers and the dynamic section, as ld.so does (elf.h). Stripped files have
both: nothing here needs sections.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shootdown.errors import InfraError

_HEADER: Final = struct.Struct("<4sBB10xHHIQQQIHHH")
_PROGRAM: Final = struct.Struct("<IIQQQQQQ")
_DYNAMIC: Final = struct.Struct("<QQ")
_64_BIT, _LITTLE = 2, 1
_PT_LOAD, _PT_DYNAMIC, _PT_INTERP = 1, 2, 3
_DT_NULL, _DT_NEEDED, _DT_STRTAB, _DT_STRSZ = 0, 1, 5, 10


@dataclass(frozen=True)
class Linkage:
    """How a program or library is linked."""

    machine: int
    """e_machine."""
    interpreter: str
    """Path of the dynamic linker it names; empty for libraries."""
    needed: tuple[str, ...]
    """File names (SONAMEs) of the libraries it needs itself, in order."""


def linkage(path: Path) -> Linkage:
    """Read the linkage of a 64-bit little-endian ELF file.

    Raises InfraError, naming the file, when it is none or truncated.
    """
    try:
        data = path.read_bytes()
        magic, width, order, _, machine, _, _, table, _, _, _, size, count = _HEADER.unpack_from(
            data
        )
        if (magic, width, order) != (b"\x7fELF", _64_BIT, _LITTLE) or size != _PROGRAM.size:
            raise ValueError("not for a 64-bit little-endian machine")
        programs = [_PROGRAM.unpack_from(data, table + size * i) for i in range(count)]
        interpreter = b"".join(_content(data, p) for p in programs if p[0] == _PT_INTERP)
        return Linkage(machine, interpreter.rstrip(b"\0").decode(), tuple(_needed(data, programs)))
    except OSError as error:
        raise InfraError(f"{path} cannot be read: {error.strerror}") from error
    except (struct.error, ValueError) as error:
        raise InfraError(f"{path} is no program the guest can run: {error}") from error


def is_elf(path: Path) -> bool:
    """Whether the file begins as an ELF file does. Raises OSError."""
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


_Program = tuple[int, ...]
"""A program header: type, flags, offset, VA, PA, bytes in the file, bytes in memory, alignment."""


def _content(data: bytes, program: _Program) -> bytes:
    offset, size = program[2], program[5]
    if offset + size > len(data):
        raise ValueError("it is truncated")
    return data[offset : offset + size]


def _needed(data: bytes, programs: list[_Program]) -> Iterator[str]:
    entries = [
        entry
        for program in programs
        if program[0] == _PT_DYNAMIC
        for entry in _DYNAMIC.iter_unpack(_content(data, program))
    ]
    tags = dict(reversed(entries))
    if _DT_STRTAB not in tags:
        return
    start = _offset(tags[_DT_STRTAB], programs)
    strings = data[start : start + tags.get(_DT_STRSZ, 0)]
    for tag, value in entries:
        if tag == _DT_NULL:
            return
        if tag == _DT_NEEDED:
            yield strings[value : strings.index(b"\0", value)].decode()


def _offset(va: int, programs: list[_Program]) -> int:
    """Where in the file the content for a VA is."""
    for kind, _, offset, first, _, size, _, _ in programs:
        if kind == _PT_LOAD and first <= va < first + size:
            return offset + va - first
    raise ValueError("its dynamic section points outside of it")
