"""Raw BTF: where the members of structures are (Documentation/bpf/btf.rst).

The blob is walked once, for the position of each type and the names; everything else is decoded
when it is asked for.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Final

from shootdown.errors import InfraError

MAGIC: Final = 0xEB9F
_HEADER: Final = "<HBBIIIII"
_HEADER_BYTES: Final = struct.calcsize(_HEADER)

_INT, _PTR, _ARRAY, _STRUCT, _UNION, _ENUM = 1, 2, 3, 4, 5, 6
_TYPEDEF, _VOLATILE, _CONST, _RESTRICT, _FUNC = 8, 9, 10, 11, 12
_FUNC_PROTO, _VAR, _DATASEC = 13, 14, 15
_FLOAT, _DECL_TAG, _TYPE_TAG, _ENUM64 = 16, 17, 18, 19
_NEWEST: Final = _ENUM64

_TAIL: Final = {_INT: 4, _ARRAY: 12, _VAR: 4, _DECL_TAG: 4}
"""Bytes behind the common part, by kind."""
_PER_ENTRY: Final = {
    _STRUCT: 12,
    _UNION: 12,
    _ENUM: 8,
    _FUNC_PROTO: 8,
    _DATASEC: 12,
    _ENUM64: 12,
}
"""Bytes for each of ``vlen`` entries, by kind."""
_ALIASES: Final = {_TYPEDEF, _VOLATILE, _CONST, _RESTRICT, _TYPE_TAG}
_SIZED: Final = {_INT, _STRUCT, _UNION, _ENUM, _FLOAT, _ENUM64}
_NAMED: Final = {_STRUCT, _UNION, _ENUM, _ENUM64}
_POINTER_BYTES: Final = 8
_DEEPEST: Final = 64
"""Typedefs and qualifiers in front of one type."""


@dataclass(frozen=True)
class Member:
    """Where a member lies in its structure."""

    offset: int
    """Bytes from the start of the outermost structure."""
    size: int
    """Bytes of the member."""


@dataclass(frozen=True)
class _Field:
    name: str
    type: int
    bits: int
    """Offset in bits."""
    width: int
    """Width in bits of a bitfield, else 0."""


class Btf:
    """The types of a kernel."""

    def __init__(self, blob: bytes) -> None:
        """``blob``: BTF from its magic on; bytes behind it are ignored.

        Raises InfraError when it is no BTF, truncated, or of a newer kind.
        """
        if len(blob) < _HEADER_BYTES or struct.unpack_from("<H", blob)[0] != MAGIC:
            raise InfraError(
                "The kernel's BTF has no valid header; rebuild it with a newer pahole."
            )
        _, version, _, header, types, types_len, strings, strings_len = struct.unpack_from(
            _HEADER, blob
        )
        if version != 1 or header + max(types + types_len, strings + strings_len) > len(blob):
            raise InfraError("The kernel's BTF is truncated or of a newer version.")
        self._types = blob[header + types : header + types + types_len]
        self._strings = blob[header + strings : header + strings + strings_len]
        try:
            self._at = list(self._walk())
        except (struct.error, KeyError):
            raise InfraError(
                "The kernel's BTF is damaged or has kinds of types unknown here."
            ) from (None)
        self._ids: dict[str, int] = {}
        for number, at in enumerate(self._at[1:], 1):
            name, info = struct.unpack_from("<II", self._types, at)
            if name and info >> 24 & 0x1F in _NAMED:
                self._ids.setdefault(self._string(name), number)
        self._find = cache(self._search)

    def _walk(self) -> Iterator[int]:
        """Offset of each type; types count from 1, 0 is void."""
        types, at = self._types, 0
        info_of = struct.Struct("<I").unpack_from
        yield -1
        while at < len(types):
            yield at
            (info,) = info_of(types, at + 4)
            kind = info >> 24 & 0x1F
            if not 0 < kind <= _NEWEST:
                raise KeyError(kind)
            at += 12 + _TAIL.get(kind, 0) + _PER_ENTRY.get(kind, 0) * (info & 0xFFFF)

    def look_up(
        self, members: Iterable[str], constants: Iterable[str] = ()
    ) -> tuple[dict[str, Member], dict[str, int]]:
        """Those of ``struct.member`` and of the constants that the kernel has.

        A constant is ``enum.NAME``, ``.NAME`` for an enumerator of an enumeration without a name,
        or ``function.PARAMETER``: its position, from 0.
        """
        found = {path: self.member(path) for path in members if self.has(path)}
        values = {path: self._constant(path) for path in constants}
        return found, {path: value for path, value in values.items() if value is not None}

    def _constant(self, path: str) -> int | None:
        owner, _, name = path.partition(".")
        if not owner:
            return self._nameless.get(name)
        try:
            return self.enum(owner).get(name)
        except InfraError:
            found = self.parameters(owner)
            return found.index(name) if name in found else None

    def parameters(self, function: str) -> tuple[str, ...]:
        """Names of a function's parameters; none when the function is not known."""
        for at in self._at[1:]:
            name, info, target = struct.unpack_from("<III", self._types, at)
            if info >> 24 & 0x1F == _FUNC and self._string(name) == function:
                return self._prototype(target)
        return ()

    def _prototype(self, number: int) -> tuple[str, ...]:
        if not 0 < number < len(self._at):
            return ()
        at = self._at[number]
        info = struct.unpack_from("<I", self._types, at + 4)[0]
        if info >> 24 & 0x1F != _FUNC_PROTO:
            return ()
        places = range(at + 12, at + 12 + 8 * (info & 0xFFFF), 8)
        return tuple(self._string(struct.unpack_from("<I", self._types, p)[0]) for p in places)

    def member(self, path: str) -> Member:
        """Where ``struct.member.member`` lies, through anonymous members, typedefs and unions.

        Raises InfraError when there is no such member or it is a bitfield.
        """
        found = self._find(path)
        if isinstance(found, str):
            raise InfraError(f"The kernel's BTF has no '{path}': {found}.")
        return found

    def has(self, path: str) -> bool:
        """Whether ``member`` would find it."""
        return isinstance(self._find(path), Member)

    def size(self, name: str) -> int:
        """Bytes of the structure or union of that name. Raises InfraError when there is none."""
        return self.member(name).size

    def enum(self, name: str) -> dict[str, int]:
        """Values of an enumeration by name. Raises InfraError when there is none of that name."""
        return self._values(self._at[self._ids.get(name, 0)], name)

    @cached_property
    def _nameless(self) -> dict[str, int]:
        """Values of all enumerations without a name."""
        values: dict[str, int] = {}
        for at in self._at[1:]:
            name, info = struct.unpack_from("<II", self._types, at)
            if not name and info >> 24 & 0x1F in (_ENUM, _ENUM64):
                values |= self._values(at, "(without a name)")
        return values

    def _values(self, at: int, name: str) -> dict[str, int]:
        """Values of the enumeration at an offset; ``name`` is what errors call it."""
        info = struct.unpack_from("<I", self._types, at + 4)[0] if at >= 0 else 0
        kind, signed, count = info >> 24 & 0x1F, bool(info >> 31), info & 0xFFFF
        if kind not in (_ENUM, _ENUM64):
            raise InfraError(f"The kernel's BTF has no enum '{name}'.")
        step = _PER_ENTRY[kind]
        body = self._types[at + 12 : at + 12 + step * count]
        if len(body) < step * count:
            raise InfraError(f"The kernel's BTF is damaged: enum '{name}' is cut off.")
        values = {}
        for entry in range(0, len(body), step):
            text = int.from_bytes(body[entry : entry + 4], "little")
            value = body[entry + 4 : entry + step]  # enum64: the low half, then the high
            values[self._string(text)] = int.from_bytes(value, "little", signed=signed)
        return values

    def _search(self, path: str) -> Member | str:
        """The member, or why there is none."""
        try:
            return self._resolve(path)
        except (struct.error, IndexError, RecursionError):
            return "its types are damaged"

    def _resolve(self, path: str) -> Member | str:
        first, *rest = path.split(".")
        if first not in self._ids:
            return f"no structure '{first}'"
        number, bits = self._ids[first], 0
        for name in rest:
            found = self._field(number, name)
            if found is None:
                return f"no member '{name}'"
            if found.width:
                return f"'{name}' is a bitfield, which has no byte offset"
            number, bits = found.type, bits + found.bits
        return Member(bits // 8, self._size(number))

    def _field(self, number: int, name: str) -> _Field | None:
        """The member of a structure, also of its anonymous parts; the offset from its start."""
        anonymous = []
        for item in self._fields(number):
            if item.name == name:
                return item
            if not item.name:
                anonymous.append(item)
        for item in anonymous:
            inner = self._field(item.type, name)
            if inner is not None:
                return _Field(inner.name, inner.type, item.bits + inner.bits, inner.width)
        return None

    def _fields(self, number: int) -> Iterator[_Field]:
        at = self._at[self._plain(number)]
        if at < 0:
            return
        _, info, _ = struct.unpack_from("<III", self._types, at)
        if info >> 24 & 0x1F not in (_STRUCT, _UNION):
            return
        packed = bool(info >> 31)  # kind_flag: offsets carry bitfield widths in their top byte
        for entry in range(info & 0xFFFF):
            name, kind, where = struct.unpack_from("<III", self._types, at + 12 + 12 * entry)
            bits, width = (where & 0xFFFFFF, where >> 24) if packed else (where, 0)
            yield _Field(self._string(name), kind, bits, width)

    def _plain(self, number: int) -> int:
        """The type behind typedefs and qualifiers. RecursionError when they go in circles."""
        for _ in range(_DEEPEST):
            if number == 0:
                return 0
            _, info, target = struct.unpack_from("<III", self._types, self._at[number])
            if info >> 24 & 0x1F not in _ALIASES:
                return number
            number = target
        raise RecursionError

    def _size(self, number: int) -> int:
        number = self._plain(number)
        at = self._at[number]
        if at < 0:
            return 0
        _, info, size = struct.unpack_from("<III", self._types, at)
        kind = info >> 24 & 0x1F
        if kind in _SIZED:
            return int(size)
        if kind == _ARRAY:
            element, _, count = struct.unpack_from("<III", self._types, at + 12)
            return self._size(element) * int(count)
        return _POINTER_BYTES if kind == _PTR else 0

    def _string(self, at: int) -> str:
        end = self._strings.find(b"\0", at)
        return self._strings[at:end].decode("ascii", "replace")
