"""A disk for workloads: NVMe, of which kernels without modules know the driver."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from shootdown.errors import InfraError

SERIAL: Final = "scratch"
"""By which the guest finds it: ``/sys/block/nvme*/device/serial``."""


def make(path: Path, mib: int) -> Path:
    """Write a sparse file of ``mib`` MiB of zeros; raises InfraError."""
    try:
        with path.open("wb") as file:
            file.truncate(mib << 20)
    except OSError as error:
        raise InfraError(f"cannot write the disk {path}: {error.strerror}") from error
    return path


def qemu_args(path: Path) -> tuple[str, ...]:
    """What QEMU is told to give the guest the file as a disk; what it writes may be forgotten."""
    escaped = str(path).replace(",", ",,")
    return (
        *("-drive", f"if=none,id={SERIAL},format=raw,cache=unsafe,file={escaped}"),
        *("-device", f"nvme,drive={SERIAL},serial={SERIAL}"),
    )
