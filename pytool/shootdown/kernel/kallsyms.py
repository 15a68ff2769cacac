"""Reads the symbol table that a kernel carries for itself (CONFIG_KALLSYMS).

The tables are found by their structure, never by a kernel version. ``scripts/kallsyms.c`` writes

* ``token_table``: 256 NUL-terminated strings, and ``token_index``: where each begins (u16);
* ``num_syms`` (u32), ``names``: per symbol a length (one byte, or two when bit 7 is set) and that
  many tokens; the first expanded character is the symbol's type;
* ``markers`` (u32): the offset into ``names`` of every 256th symbol;
* the addresses, in one of the forms of ``kallsyms_addresses``.

Every table starts at a multiple of 8, or of 4 where the addresses are relative to themselves. Since
404bad70fcf7 ("kallsyms: change the output order") the addresses follow ``token_index``; before,
they come first. In between (6.2) there is a table ``seqs_of_names``, of no use here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from shootdown.errors import InfraError
from shootdown.kernel.image import KernelImage
from shootdown.kernel.scan_text import CALLS
from shootdown.kernel.symbols import SymbolTable

TOKENS: Final = 256
BLOCK: Final = 256
"""Symbols between two markers."""
_DIGITS: Final = b"0\x001\x002\x003\x004\x005\x006\x007\x008\x009\x00"
_NAME_BYTES: Final = 512
"""KSYM_NAME_LEN."""
_MIN_SYMBOLS: Final = 4 * BLOCK
_SAMPLE: Final = 4 << 20
"""Bytes of text whose calls are compared with the symbols."""
_AGREE: Final = 0.9
"""Share of calls that must go to a symbol: bytes that only look like a call take some on x86."""


@dataclass(frozen=True)
class Names:
    """The symbols' names, and where their addresses may lie."""

    names: list[str]
    """Names without the type, in the kernel's order: ascending address."""
    before: int
    """Offset of the count of symbols: the addresses may end here."""
    after: int
    """Offset of the first byte behind ``token_index``: the addresses may start here."""


def aligned(offset: int, to: int) -> int:
    """The next multiple of ``to`` at or above ``offset``."""
    return -(-offset // to) * to


def read(image: KernelImage) -> SymbolTable:
    """The kernel's symbols, checked against its text.

    An ELF file's own table is taken when it has one. Raises InfraError when there are no tables or
    they disagree with the text.
    """
    if image.symbols is not None:
        return image.symbols
    found = read_tables(image)
    if found is None:
        raise InfraError(
            f"{image.path} carries no symbol table; "
            "use a kernel built with CONFIG_KALLSYMS, or its vmlinux with symbols."
        )
    return found


def read_tables(image: KernelImage) -> SymbolTable | None:
    """The symbols that the kernel carries for itself; None when it has no such tables.

    Raises InfraError when they disagree with the text.
    """
    for segment in image.segments:
        found = find_names(segment.data)
        if found is None:
            continue
        for table in candidates(segment.data, found, segment.va):
            if agrees(table, image):
                return table
        raise InfraError(
            f"The symbol table of {image.path} disagrees with its text; give its vmlinux."
        )
    return None


def agrees(table: SymbolTable, image: KernelImage) -> bool:
    """Whether the banner is where its symbol says, and calls go to where functions start."""
    banner = table.get("linux_banner")
    if banner is not None and not _holds(image, banner, b"Linux version "):
        return False
    start = table.get("_stext")
    segment = next((s for s in image.segments if start and s.va <= start < s.end), None)
    if segment is None or start is None:
        return False
    text = segment.data[start - segment.va :][:_SAMPLE]
    _, targets = CALLS[image.arch](text, start)
    near = targets[(targets >= start) & (targets < start + len(text))]
    return len(near) > 0 and float(np.isin(near, table.vas).mean()) > _AGREE


def _holds(image: KernelImage, va: int, content: bytes) -> bool:
    try:
        return image.read(va, len(content)) == content
    except InfraError:
        return False


def find_names(data: bytes) -> Names | None:
    """Find and expand the names; None when the data holds no such tables."""
    for table, index in _token_tables(data):
        tokens = _tokens(data, table)
        for markers, values in _marker_tables(data, table):
            found = _names_before(data, markers, values, tokens)
            if found is not None:
                return Names(found[1], found[0], index + 2 * TOKENS)
    return None


def _token_tables(data: bytes) -> Iterator[tuple[int, int]]:
    """Offsets of each ``token_table`` and its ``token_index``.

    A character that is no token's second use stands for itself, so the digits follow each other.
    """
    at = data.find(_DIGITS)
    while at >= 0:
        end = at
        for _ in range(ord("0"), TOKENS):
            end = data.find(b"\0", end) + 1
            if end == 0:
                return
        for index in (aligned(end, 4), aligned(end, 8)):
            offsets = np.frombuffer(data, "<u2", TOKENS, index) if _fits(data, index) else None
            if offsets is None or offsets[0] != 0:
                continue
            start = at - int(offsets[ord("0")])
            if start >= 0 and _index_matches(data, start, offsets):
                yield start, index
                break
        at = data.find(_DIGITS, at + 1)


def _fits(data: bytes, index: int) -> bool:
    return index + 2 * TOKENS <= len(data)


def _index_matches(data: bytes, start: int, offsets: NDArray[np.uint16]) -> bool:
    """Whether each offset is where the string before it ends."""
    expected = 0
    for offset in offsets.tolist():
        if offset != expected:
            return False
        expected = data.find(b"\0", start + offset) + 1 - start
        if expected <= 0:
            return False
    return True


def _tokens(data: bytes, table: int) -> list[bytes]:
    return data[table : table + (1 << 16)].split(b"\0", TOKENS)[:TOKENS]


def _marker_tables(data: bytes, table: int) -> Iterator[tuple[int, list[int]]]:
    """Offsets and contents of what looks like ``markers`` before ``table``, the nearest first."""
    words = np.frombuffer(data, "<u4", table // 4)
    step = np.diff(words.astype(np.int64))
    # Each of the 256 symbols takes at least a length and a token, and at most KSYM_NAME_LEN.
    grows = (step >= 2 * BLOCK) & (step <= _NAME_BYTES * BLOCK)
    run = _MIN_SYMBOLS // BLOCK - 1
    starts = words[: len(grows) - run + 1] == 0
    for ahead in range(run):
        starts &= grows[ahead : len(grows) - run + 1 + ahead]
    for start in np.flatnonzero(starts)[::-1].tolist():
        stops = np.flatnonzero(~grows[start:])
        end = start + (int(stops[0]) if len(stops) else len(grows) - start) + 1
        yield 4 * start, words[start:end].tolist()


def _names_before(
    data: bytes, markers: int, values: list[int], tokens: list[bytes]
) -> tuple[int, list[str]] | None:
    """Offset of ``num_syms`` and the names, when they end where ``markers`` starts."""
    most = len(values) * BLOCK
    last = markers - values[-1]
    for names in range(last & ~3, max(8, last - BLOCK * _NAME_BYTES), -4):
        for align in (4, 8):
            count = int.from_bytes(data[names - align : names], "little")
            if not most - BLOCK < count <= most:
                continue
            found = _expand(data, names, count, values, tokens)
            if found is not None and aligned(found[1], align) == markers:
                return names - align, found[0]
    return None


def _expand(
    data: bytes, at: int, count: int, markers: list[int], tokens: list[bytes]
) -> tuple[list[str], int] | None:
    """Names of ``count`` symbols and the offset behind them; None when a marker disagrees."""
    base = at
    names: list[str] = []
    for number in range(count):
        if number % BLOCK == 0 and at - base != markers[number // BLOCK]:
            return None
        if at + 1 >= len(data):
            return None
        length = data[at]
        at += 1
        if length & 0x80:
            length = (length & 0x7F) | data[at] << 7
            at += 1
        text = b"".join([tokens[token] for token in data[at : at + length]])
        names.append(text[1:].decode("ascii", "replace"))
        at += length
    return names, at


def candidates(data: bytes, found: Names, va: int) -> Iterator[SymbolTable]:
    """Every way to read the addresses; ``va`` is that of the first byte of ``data``.

    The caller takes the first that agrees with the text: the forms do not tell themselves apart.
    """
    count = len(found.names)
    for at in (aligned(found.after, 4), aligned(found.after, 8)):
        yield from _at(data, at, va, found.names)
        yield from _based(data, at, aligned(at + 4 * count, 8), found.names)
    for base in (found.before - 8, aligned(found.before, 8) - 8):
        for at in (base - 4 * count, aligned(base - 4 * count - 7, 8)):
            yield from _based(data, at, base, found.names)
    for at in (found.before - 8 * count, found.after):
        yield from _absolute(data, at, found.names)


def _array(data: bytes, at: int, count: int, form: str) -> NDArray[np.int64] | None:
    size = np.dtype(form).itemsize
    if at < 0 or at + size * count > len(data):
        return None
    return np.frombuffer(data, form, count, at).astype(np.int64)


def _table(names: list[str], vas: NDArray[np.int64]) -> Iterator[SymbolTable]:
    """The table, if its addresses ascend, as the kernel's own binary search needs."""
    unsigned = vas.astype(np.uint64)
    if bool((unsigned[1:] >= unsigned[:-1]).all()):
        yield SymbolTable(names, unsigned)


def _at(data: bytes, at: int, va: int, names: list[str]) -> Iterator[SymbolTable]:
    """Each word holds the distance from itself to the symbol."""
    offsets = _array(data, at, len(names), "<i4")
    if offsets is not None:
        here = np.int64(va + at - (1 << 64) if va >> 63 else va + at)
        yield from _table(names, here + 4 * np.arange(len(names)) + offsets)


def _based(data: bytes, at: int, base: int, names: list[str]) -> Iterator[SymbolTable]:
    """Distances from ``kallsyms_relative_base``, a 64-bit word that lies at offset ``base``.

    With per-CPU symbols at absolute addresses (CONFIG_KALLSYMS_ABSOLUTE_PERCPU) those are stored
    as they are and all others as ``base - 1 - va``, below zero.
    """
    offsets = _array(data, at, len(names), "<i4")
    origin = _array(data, base, 1, "<i8")
    if offsets is None or origin is None:
        return
    split = np.where(offsets < 0, origin[0] - 1 - offsets, offsets)
    yield from _table(names, split)
    yield from _table(names, origin[0] + (offsets & 0xFFFFFFFF))


def _absolute(data: bytes, at: int, names: list[str]) -> Iterator[SymbolTable]:
    """Plain 64-bit addresses."""
    vas = _array(data, at, len(names), "<i8")
    if vas is not None:
        yield from _table(names, vas)
