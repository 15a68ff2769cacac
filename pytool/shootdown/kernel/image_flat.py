"""arm64's flat Image: where it wants to run, and its relocations.

The file is the kernel's memory from ``_text`` on (Documentation/arch/arm64/booting.rst). It does
not say its VA; that follows from the pointers inside. A relocatable kernel keeps them in one of
two ways (arch/arm64/kernel/pi/relocate.c):

* RELR or not relocatable: pointers are in place, so many a static list head points to itself;
* RELA: the words are zero and a table of (VA, type, value) fills them when the kernel starts.
"""

from __future__ import annotations

import struct
from typing import Final

import numpy as np
from numpy.typing import NDArray

from shootdown.errors import InfraError
from shootdown.kernel.image_unpack import hint

MAGIC: Final = b"ARM\x64"
MAGIC_AT: Final = 56
_R_AARCH64_RELATIVE: Final = 0x403
_ALIGN: Final = 1 << 16
"""The largest page size: every Image runs at a multiple of it (EFI_KIMG_ALIGN)."""
_4K: Final = "4 KiB"
_PAGE_SIZES: Final = ("an unknown size", _4K, "16 KiB", "64 KiB")
_KERNEL_HALF: Final = 0xFFFF
_MIN_RELOCATIONS: Final = 1024
_MIN_LISTS: Final = 64
_TAIL: Final = 1 << 20


def image_bytes(data: bytes) -> int:
    """Bytes of memory the kernel occupies from ``_text`` on, ``.bss`` included."""
    return int(struct.unpack_from("<Q", data, 16)[0])


def check_kind(data: bytes, what: str) -> None:
    """Raise InfraError when the header is that of a big-endian kernel, or of one without 4K pages.

    Its flags (Documentation/arch/arm64/booting.rst): bit 0 is the endianness, bits 1 and 2 are the
    page size.
    """
    flags = struct.unpack_from("<Q", data, 24)[0] if len(data) >= 64 else 0
    if flags & 1:
        raise InfraError(f"{what} is a big-endian arm64 kernel; use a little-endian one.")
    size = _PAGE_SIZES[flags >> 1 & 3]
    if size != _4K:
        raise InfraError(
            f"{what} is an arm64 kernel with pages of {size}, and tables of 4 KiB pages are what "
            "is read; use one built with CONFIG_ARM64_4K_PAGES."
        )


def check_whole(data: bytes, what: str) -> None:
    """Raise InfraError when the file is shorter than its PE header says, or of another kind."""
    check_kind(data, what)
    if data[:2] != b"MZ":
        return
    try:
        (pe,) = struct.unpack_from("<I", data, 60)
        sections, optional = struct.unpack_from("<H12xH", data, pe + 6)
        ends = [
            sum(struct.unpack_from("<II", data, pe + 24 + optional + 40 * number + 16))
            for number in range(sections)
        ]
    except struct.error:
        ends = [len(data) + 1]
    if max(ends, default=0) > len(data):
        raise InfraError(f"{what} is a truncated arm64 Image; fetch or build it again.")


def place(data: bytes, what: str) -> tuple[int, bytes]:
    """The VA of the first byte (``_text``), and the data with its relocations applied.

    Raises InfraError when the pointers inside agree on no address.
    """
    words = np.frombuffer(data, "<u8", len(data) // 8)
    table = _rela(words)
    base = _base_of_rela(words, *table) if len(table[0]) else _base_in_place(words)
    if base is None:
        raise InfraError(
            f"{what} does not reveal the address it runs at{hint(data[-_TAIL:])}; "
            "use an unmodified arm64 Image."
        )
    return base, _filled(data, base, *table)


def relocate(data: bytes, base: int) -> bytes:
    """The data, whose first byte is at the VA ``base``, with its relocations applied."""
    return _filled(data, base, *_rela(np.frombuffer(data, "<u8", len(data) // 8)))


def _filled(data: bytes, base: int, vas: NDArray[np.uint64], values: NDArray[np.uint64]) -> bytes:
    if not len(vas):
        return data
    words = np.frombuffer(data, "<u8", len(data) // 8).copy()
    at = (vas - np.uint64(base)) >> np.uint64(3)
    inside = at < len(words)
    words[at[inside]] = values[inside]
    return words.tobytes() + data[8 * len(words) :]


def _rela(words: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """VAs and values of the RELA table's entries; empty without one."""
    middle = np.flatnonzero(words[1:-1] == _R_AARCH64_RELATIVE) + 1
    middle = middle[(words[middle - 1] >> np.uint64(48)) == _KERNEL_HALF]
    if len(middle) < _MIN_RELOCATIONS:
        middle = middle[:0]
    return words[middle - 1], words[middle + 1]


def _base_of_rela(
    words: NDArray[np.uint64], vas: NDArray[np.uint64], values: NDArray[np.uint64]
) -> int | None:
    """The address at which the relocated words lie inside the file and are zero.

    A handful hold a value all the same, hence the share.
    """
    lowest, highest = int(vas.min()), int(vas.max())
    first = -(-(highest + 8 - 8 * len(words)) // _ALIGN) * _ALIGN
    used = {
        base: int(np.count_nonzero(words[(vas - np.uint64(base)) >> np.uint64(3)]))
        for base in range(first, lowest + 1, _ALIGN)
    }
    fits = [base for base, count in used.items() if count < len(vas) // 100]
    return fits[0] if len(fits) == 1 else None


def _base_in_place(words: NDArray[np.uint64]) -> int | None:
    """The address at which the most words point to themselves, as an empty list head does."""
    at = np.flatnonzero((words >> np.uint64(48)) == _KERNEL_HALF)
    bases = words[at] - (at.astype(np.uint64) << np.uint64(3))
    found, counts = np.unique(bases[bases % np.uint64(_ALIGN) == 0], return_counts=True)
    if not len(found):
        return None
    best = int(counts.argmax())
    rivals = np.delete(counts, best)
    clear = counts[best] >= _MIN_LISTS and counts[best] > 4 * rivals.max(initial=0)
    return int(found[best]) if clear else None
