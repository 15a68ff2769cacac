"""Symbols that a kernel does not list, found by what is known about them.

Without CONFIG_KALLSYMS_ALL (Debian's arm64 6.1) only functions are listed. The data that the tool
needs is exported to modules, or has content that nothing else has, or is named by an instruction.
A finder answers with a VA, or None when it is not sure; it never guesses.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
from capstone import arm64
from numpy.typing import NDArray

from shootdown.errors import InfraError
from shootdown.kernel import image_flat
from shootdown.kernel.disassembler import engine
from shootdown.kernel.facts_sources import Types
from shootdown.kernel.image import KernelImage
from shootdown.kernel.symbols import SymbolTable

_PAGE: Final = 4096

Finder = Callable[[KernelImage, SymbolTable, Types], int | None]


def _only(found: set[int]) -> int | None:
    """The one element, else None."""
    return found.pop() if len(found) == 1 else None


def _extent(image: KernelImage) -> tuple[int, int] | None:
    """First VA of an arm64 kernel and the VA behind its ``.bss``, from the Image header."""
    first = min(image.segments, key=lambda segment: segment.va)
    at = image_flat.MAGIC_AT
    if first.data[at : at + 4] != image_flat.MAGIC:
        return None
    return first.va, first.va + image_flat.image_bytes(first.data)


def _text(image: KernelImage, _: SymbolTable, __: Types) -> int | None:
    extent = _extent(image)
    return extent[0] if extent else None


def _end(image: KernelImage, _: SymbolTable, __: Types) -> int | None:
    extent = _extent(image)
    return extent[1] if extent else None


def _exported(name: str) -> Finder:
    """Find data by its ``struct kernel_symbol``: distances from itself to the value and its name.

    include/linux/export.h; CONFIG_HAVE_ARCH_PREL32_RELOCATIONS, which x86-64 and arm64 select.
    """

    def find(image: KernelImage, _: SymbolTable, __: Types) -> int | None:
        found: set[int] = set()
        extent = _extent(image)
        for segment in image.segments if extent else ():
            words = np.frombuffer(segment.data, "<i4", len(segment.data) // 4)
            places = words.astype(np.int64) + 4 * np.arange(len(words))
            for match in re.finditer(b"\0" + re.escape(name.encode()) + b"\0", segment.data):
                for entry in np.flatnonzero(places[1:] == match.start() + 1).tolist():
                    va = segment.va + int(places[entry])
                    if extent and extent[0] <= va < extent[1]:
                        found.add(va)
        return _only(found)

    return find


def _init_mm(image: KernelImage, _: SymbolTable, types: Types) -> int | None:
    """The one static mm_struct with a root table (mm/init-mm.c): two users, on no list."""
    try:
        lists = types.member("mm_struct.mmlist").offset
        users = types.member("mm_struct.mm_users").offset
        root = types.member("mm_struct.pgd").offset
    except InfraError:
        return None
    found: set[int] = set()
    for segment in image.segments:
        words = np.frombuffer(segment.data, "<u8", len(segment.data) // 8)
        for head in _empty_lists(words, segment.va):
            mm = segment.va + head - lists
            if mm < segment.va or mm + lists + 16 > segment.end:
                continue
            if image.read(mm + users, 4) == b"\2\0\0\0" and image.word(mm + root) % _PAGE == 0:
                found.add(mm) if image.word(mm + root) else None
    return _only(found)


def _empty_lists(words: NDArray[np.uint64], va: int) -> list[int]:
    """Byte offsets of list heads whose two pointers lead to themselves."""
    own = np.uint64(va) + np.arange(len(words), dtype=np.uint64) * np.uint64(8)
    heads = (words[:-1] == own[:-1]) & (words[1:] == own[:-1])
    return [8 * index for index in np.flatnonzero(heads).tolist()]


def _swapper_pg_dir(image: KernelImage, table: SymbolTable, _: Types) -> int | None:
    """``early_fixmap_init`` compares with it (``in_swapper_pgdir``); its tables are in ``.bss``."""
    return _page_formed(image, table, "early_fixmap_init", bss=False)


def _bm_pte(image: KernelImage, table: SymbolTable, _: Types) -> int | None:
    """``__set_fixmap`` stores into it, in ``.bss``."""
    return _page_formed(image, table, "__set_fixmap", bss=True)


def _page_formed(image: KernelImage, table: SymbolTable, name: str, *, bss: bool) -> int | None:
    """The one page whose address a function forms, among those in ``.bss`` or outside it."""
    extent = _extent(image)
    if extent is None or name not in table:
        return None
    file_end = max(segment.end for segment in image.segments)
    first, end = (file_end, extent[1]) if bss else (extent[0], file_end)
    start, stop = table.extent(name)
    formed = _addresses_formed(image.read(start, stop - start), start)
    return _only({va for va in formed if first <= va < end and va % _PAGE == 0})


def _addresses_formed(data: bytes, va: int) -> Iterator[int]:
    """VAs that ``adrp`` and ``add`` put together in arm64 code at ``va``."""
    pages: dict[int, int] = {}
    for step in engine("arm64", detail=True).disasm(data, va):
        operands = step.operands
        if step.id == arm64.ARM64_INS_ADRP:
            pages[operands[0].reg] = operands[1].imm
        elif step.id == arm64.ARM64_INS_ADD and operands[1].reg in pages:
            yield (pages[operands[1].reg] + operands[2].imm) % (1 << 64)


def _entry_task(image: KernelImage, table: SymbolTable, _: Types) -> int | None:
    """``__switch_to`` stores the next task there (arch/arm64/kernel/process.c: entry_task_switch).

    Sure only where that is the one address it forms; where it forms more the symbol is listed.
    """
    if _extent(image) is None or "__switch_to" not in table:
        return None
    start, stop = table.extent("__switch_to")
    return _only(set(_addresses_formed(image.read(start, stop - start), start)))


FINDERS: Final[dict[str, Finder]] = {
    "_text": _text,
    "_end": _end,
    "init_mm": _init_mm,
    "init_task": _exported("init_task"),
    "__per_cpu_offset": _exported("__per_cpu_offset"),
    "mem_section": _exported("mem_section"),
    "memstart_addr": _exported("memstart_addr"),
    "kimage_voffset": _exported("kimage_voffset"),
    "swapper_pg_dir": _swapper_pg_dir,
    "bm_pte": _bm_pte,
    "__entry_task": _entry_task,
}
"""By symbol."""
