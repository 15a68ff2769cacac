"""A swap device for the guest: an NVMe disk, of which kernels without modules know the driver.

The header is the one that mkswap(8) writes (include/linux/swap.h, union swap_header): its place
depends on the page size of the kernel, 4 KiB here.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final

from shootdown.errors import InfraError

DEVICE: Final = "/dev/nvme0n1"
"""What the guest calls it."""

_PAGE: Final = 4096
_VERSION: Final = 1
_INFO_AT: Final = 1024
_MAGIC: Final = b"SWAPSPACE2"


def make(path: Path, mib: int) -> Path:
    """Write a sparse file of ``mib`` MiB that the guest can swap to; raises InfraError."""
    pages = (mib << 20) // _PAGE
    header = bytearray(_PAGE)
    struct.pack_into("<II", header, _INFO_AT, _VERSION, pages - 1)
    header[-len(_MAGIC) :] = _MAGIC
    try:
        with path.open("wb") as file:
            file.write(header)
            file.truncate(mib << 20)
    except OSError as error:
        raise InfraError(f"cannot write the swap file {path}: {error.strerror}") from error
    return path


def qemu_args(path: Path) -> tuple[str, ...]:
    """What QEMU is told to give the guest the file as a disk; what it writes may be forgotten."""
    escaped = str(path).replace(",", ",,")
    return (
        *("-drive", f"if=none,id=swap,format=raw,cache=unsafe,file={escaped}"),
        *("-device", "nvme,drive=swap,serial=swap"),
    )
