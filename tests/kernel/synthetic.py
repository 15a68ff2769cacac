"""A small kernel made by hand: an arm64 Image with text, a banner and kallsyms in any layout."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

BASE = 0xFFFF_8000_8000_0000
TEXT = 0x1_0000
FUNCTION = 16
"""Bytes of a function: a call of the next one and NOPs."""
COUNT = 1100
RODATA = TEXT + 0x1_0000
TABLES = RODATA + 0x4000
BANNER = b"Linux version 6.99-synthetic (nobody) #1\n\0"
NOP = 0xD503201F
TOKENS = {0x80: b"sys_", 0x81: b"_stext", 0x90: b"function"}
"""Tokens of several characters; printable characters stand for themselves."""


@dataclass(frozen=True)
class Layout:
    """How the tables of one range of kernel versions lie."""

    name: str
    align: int
    addresses: Callable[[list[int], int], bytes]
    """From the VAs and the VA of the array: the array, and the base behind it."""
    first: bool = False
    """Addresses come before the names (until 6.3)."""
    sequence: bool = False
    """``seqs_of_names`` lies between markers and tokens (6.2 and 6.3)."""


def _pad(data: bytes, align: int) -> bytes:
    return data + bytes(-len(data) % align)


def _relative(vas: list[int], _: int) -> bytes:
    base = min(vas)
    words = b"".join(struct.pack("<I", va - base) for va in vas)
    return _pad(words, 8) + struct.pack("<Q", base)


def _split(vas: list[int], _: int) -> bytes:
    """Per-CPU symbols as they are, others below zero (CONFIG_KALLSYMS_ABSOLUTE_PERCPU)."""
    base = min(va for va in vas if va >> 63)
    words = b"".join(struct.pack("<i", base - 1 - va if va >> 63 else va) for va in vas)
    return _pad(words, 8) + struct.pack("<Q", base)


def _here(vas: list[int], at: int) -> bytes:
    return b"".join(struct.pack("<i", va - (at + 4 * number)) for number, va in enumerate(vas))


def _absolute(vas: list[int], _: int) -> bytes:
    return b"".join(struct.pack("<Q", va) for va in vas)


LAYOUTS = (
    Layout("6.1", 8, _relative, first=True),
    Layout("6.1-percpu", 8, _split, first=True),
    Layout("6.2", 8, _relative, first=True, sequence=True),
    Layout("6.4", 8, _relative),
    Layout("6.4-percpu", 8, _split),
    Layout("7", 4, _here),
    Layout("absolute", 8, _absolute, first=True),
)


def symbols(percpu: bool) -> list[tuple[str, str, int]]:
    """Type, name and VA of each symbol, in ascending order; one name is very long."""
    found = [("A", "a_percpu_word", 0x35000)] if percpu else []
    start = BASE + TEXT
    found += [("T", "_text", BASE), ("T", "_stext", start)]
    found += [
        ("t", f"sys_function_{n}" + "x" * (200 * (n == 7)), start + FUNCTION * n)
        for n in range(1, COUNT)
    ]
    return [*found, ("T", "_etext", start + FUNCTION * COUNT), ("D", "linux_banner", BASE + RODATA)]


def _compress(text: str) -> bytes:
    """The name in tokens, after its length in one byte or two."""
    data, out = text.encode(), b""
    while data:
        token = next((t for t, s in TOKENS.items() if data.startswith(s)), None)
        out += bytes([data[0] if token is None else token])
        data = data[1 if token is None else len(TOKENS[token]) :]
    size = len(out)
    return (bytes([size]) if size < 0x80 else bytes([size & 0x7F | 0x80, size >> 7])) + out


def tables(layout: Layout, at: int) -> bytes:
    """The kallsyms tables, for an address ``at``."""
    found = symbols(percpu=layout.addresses is _split)
    vas = [va for _, _, va in found]
    names, markers = b"", b""
    for number, (kind, name, _) in enumerate(found):
        if number % 256 == 0:
            markers += struct.pack("<I", len(names))
        names += _compress(kind + name)
    strings = [TOKENS.get(n, bytes([n]) if 32 <= n < 127 else b"") + b"\0" for n in range(256)]
    index = b"".join(struct.pack("<H", len(b"".join(strings[:n]))) for n in range(256))
    sequence = bytes(3 * len(found)) if layout.sequence else b""
    parts = [struct.pack("<I", len(found)), names, markers, sequence, b"".join(strings), index]
    out = _pad(layout.addresses(vas, at), layout.align) if layout.first else b""
    for part in parts:
        out += _pad(part, layout.align)
    return out if layout.first else out + layout.addresses(vas, at + len(out))


def image(layout: Layout = LAYOUTS[5]) -> bytes:
    """The whole Image."""
    header = struct.pack("<II6Q4sI", NOP, NOP, 0, 0x40_0000, 0xA, 0, 0, 0, b"ARM\x64", 0)
    call = 0x9400_0000 | FUNCTION // 4
    text = struct.pack("<4I", call, NOP, NOP, NOP) * (COUNT - 1) + struct.pack("<4I", *[NOP] * 4)
    data = (header.ljust(TEXT, b"\0") + text).ljust(RODATA, b"\0") + BANNER
    data = data.ljust(TABLES, b"\0") + tables(layout, BASE + TABLES)
    data = _pad(data, 8)
    for _ in range(200):  # empty lists, which show the address
        here = BASE + len(data)
        data += struct.pack("<2Q", here, here)
    return data
