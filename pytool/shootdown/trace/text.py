"""Traces as text: one event a line, for tests and the golden corpus.

::

    # a page is mapped, replaced and flushed
    0 PTE_WRITE a=0x1000 b=0 c=0x8000000000000067 d=0x400000 level=1
    1 FLUSH id=INVLPG a=0x400000 b=0x401000
    0 PROBE id=SYSCALL a=9 b=0x400000 flags=MORE
    0 PROBE_MORE id=SYSCALL a=0x22

A line is ``CPU KIND [FIELD=VALUE...]``. Fields left out are 0, except that ``seq``
counts up from the event before (the first is 1). Numbers are C literals or -1 style
negatives. ``id`` and ``flags`` may be written in the names of the schema; flags are
joined by ``|``. ``#`` starts a comment; empty lines mean nothing.
"""

from __future__ import annotations

import re
from enum import IntEnum
from typing import Final

import numpy as np

from shootdown.errors import UsageError
from shootdown.trace.functions import Function
from shootdown.trace.schema import (
    DTYPE,
    FIELDS,
    BarrierOp,
    Flag,
    FlushOp,
    Kind,
    Mark,
    Probe,
    RootReg,
    Watch,
)
from shootdown.trace.types import Events

_IDS: Final[dict[Kind, type[IntEnum]]] = {
    Kind.FLUSH: FlushOp,
    Kind.BARRIER: BarrierOp,
    Kind.ROOT_LOAD: RootReg,
    Kind.WATCH: Watch,
    Kind.WATCH_INIT: Watch,
    Kind.PROBE: Probe,
    Kind.PROBE_MORE: Probe,
    Kind.MARK: Mark,
    Kind.ENTER: Function,
    Kind.ENTER_MORE: Function,
    Kind.EXIT: Function,
    Kind.PAGE_FREED: Function,
    Kind.PAGE_ALLOCATED: Function,
    Kind.COUNT: Kind,
}
"""What ``id`` means; other kinds leave it 0."""

_KINDS: Final = {int(kind): kind for kind in Kind}
_KEYS: Final = tuple(field.name for field in FIELDS if field.name not in ("kind", "cpu"))
_WRITTEN: Final = ("seq", "id", "a", "b", "c", "d", "level", "size", "flags", "pc", "icount")
_BITS: Final = {field.name: 8 * DTYPE[field.name].itemsize for field in FIELDS}
_NUMBER: Final = re.compile(r"-?(0[xX][0-9a-fA-F]+|[0-9]+)")


def parse(text: str, *, source: str = "text") -> Events:
    """The events written in ``text``, in the order of its lines.

    ``source`` names the text in errors. Raises UsageError, naming the line.
    """
    rows: list[tuple[int, ...]] = []
    seq = 0
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            values = _event(words, seq + 1)
        except ValueError as error:
            raise UsageError(f"{source}:{number}: {error}") from None
        seq = values["seq"]
        rows.append(tuple(values[field.name] for field in FIELDS))
    return np.array(rows, dtype=DTYPE)


def format_events(events: Events) -> str:
    """``events`` as text that ``parse`` reads back to the same array."""
    lines = []
    seq = 0
    for row in events.tolist():
        values = dict(zip(DTYPE.names or (), row, strict=True))
        lines.append(_line(values, seq + 1))
        seq = values["seq"]
    return "".join(f"{line}\n" for line in lines)


def _event(words: list[str], seq: int) -> dict[str, int]:
    if len(words) < 2:
        raise ValueError("an event needs a CPU and a kind")
    values = dict.fromkeys(_BITS, 0)
    values["cpu"] = _fit("cpu", _number(words[0]))
    values["kind"] = kind = _kind(words[1])
    values["seq"] = seq % (1 << 64)
    seen: set[str] = set()
    for word in words[2:]:
        key, equals, value = word.partition("=")
        if not equals or key not in _KEYS:
            raise ValueError(f"'{word}' is no FIELD=VALUE, fields are {', '.join(_KEYS)}")
        if key in seen:
            raise ValueError(f"'{key}' is given twice")
        seen.add(key)
        values[key] = _fit(key, _value(kind, key, value))
    return values


def _kind(word: str) -> int:
    if word in Kind.__members__:
        return Kind[word]
    if _NUMBER.fullmatch(word):
        return _fit("kind", _number(word))
    raise ValueError(f"'{word}' is no kind of event")


def _value(kind: int, key: str, text: str) -> int:
    if key == "id" and (names := _ids(kind)) and text in names.__members__:
        return names[text]
    if key == "flags" and not _NUMBER.fullmatch(text):
        return _flags(text)
    return _number(text)


def _ids(kind: int) -> type[IntEnum] | None:
    return _IDS.get(_KINDS[kind]) if kind in _KINDS else None


def _flags(text: str) -> int:
    bits = Flag(0)
    for name in text.split("|"):
        if name not in Flag.__members__:
            raise ValueError(f"'{name}' is no flag, flags are {', '.join(Flag.__members__)}")
        bits |= Flag[name]
    return int(bits)


def _number(text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"'{text}' is no number and no name known here")
    return int(text, 16) if "x" in text.lower() else int(text)


def _fit(key: str, value: int) -> int:
    # A negative number stands for its two's complement, as results of system calls do.
    limit = 1 << _BITS[key]
    if not -(limit // 2) <= value < limit:
        raise ValueError(f"{key}={value} does not fit in {_BITS[key]} bits")
    return value % limit


def _line(values: dict[str, int], seq: int) -> str:
    kind = values["kind"]
    words = [str(values["cpu"]), _KINDS[kind].name if kind in _KINDS else str(kind)]
    for key in _WRITTEN:
        value = values[key]
        if value != (seq if key == "seq" else 0):
            words.append(f"{key}={_word(kind, key, value)}")
    return " ".join(words)


def _word(kind: int, key: str, value: int) -> str:
    if key == "id":
        names = _ids(kind)
        return {int(member): member.name for member in names or ()}.get(value, str(value))
    if key == "flags" and not value & ~sum(Flag):
        return "|".join(str(flag.name) for flag in Flag if flag & value)
    return hex(value) if value > 9 and key in ("pc", "a", "b", "c", "d") else str(value)
