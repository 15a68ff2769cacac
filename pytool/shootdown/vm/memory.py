"""The guest's physical memory, without asking QEMU for it."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from shootdown.errors import InfraError

TABLE_BYTES = 4096
_BACKEND = "memfd:memory-backend-memfd"


class GuestMemory:
    """A read-only view of a guest's RAM; it outlives QEMU.

    ``base`` is the PA of the first byte, ``size`` the number of bytes. While the guest runs, the
    view changes under the reader. What devices map over RAM (x86: PA 0xa0000 to 0xfffff) is not
    seen, but the RAM below it.
    """

    def __init__(self, memory: mmap.mmap, base: int) -> None:
        self._memory = memory
        self.base = base
        self.size = len(memory)

    @classmethod
    def of_process(cls, pid: int, base: int) -> GuestMemory:
        """Map the RAM of a running QEMU, given its process id and the PA where RAM begins.

        Raises InfraError when the process is gone or has no memory-backend-memfd.
        """
        try:
            fd = os.open(_backend_of(pid), os.O_RDONLY)
            try:
                return cls(mmap.mmap(fd, 0, mmap.MAP_SHARED, mmap.PROT_READ), base)
            finally:
                os.close(fd)
        except OSError as error:
            raise InfraError(
                f"the memory of QEMU (process {pid}) cannot be mapped: {error.strerror}"
            ) from error

    def read(self, pa: int, size: int) -> bytes:
        """Copy ``size`` bytes from a PA. Raises InfraError if any is outside RAM."""
        offset = self._offset(pa, size)
        return self._memory[offset : offset + size]

    def table(self, pa: int) -> npt.NDArray[np.uint64]:
        """View the page table at a PA (4 KiB aligned): 512 entries, no copy, read-only.

        Raises InfraError if it is outside RAM or not aligned.
        """
        if pa % TABLE_BYTES:
            raise InfraError(f"no page table can be at PA {pa:#x}: it is not 4 KiB aligned")
        offset = self._offset(pa, TABLE_BYTES)
        return np.frombuffer(self._memory, np.uint64, TABLE_BYTES // 8, offset)

    def _offset(self, pa: int, size: int) -> int:
        offset = pa - self.base
        if size < 0 or offset < 0 or offset + size > self.size:
            raise InfraError(
                f"PA {pa:#x} and the {size} bytes from there are not all in guest RAM, "
                f"which is {self.base:#x} up to {self.base + self.size:#x}"
            )
        return offset


def write(pid: int, base: int, pa: int, data: bytes) -> None:
    """Write to the RAM of a running QEMU, given its process id and the PA where RAM begins.

    Raises InfraError when the process is gone, or any of it is outside RAM.
    """
    try:
        fd = os.open(_backend_of(pid), os.O_RDWR)
        try:
            if not 0 <= pa - base <= os.fstat(fd).st_size - len(data):
                raise InfraError(f"PA {pa:#x} and {len(data)} bytes from there are not all in RAM")
            os.pwrite(fd, data, pa - base)
        finally:
            os.close(fd)
    except OSError as error:
        raise InfraError(
            f"the memory of QEMU (process {pid}) cannot be written: {error.strerror}"
        ) from error


def _backend_of(pid: int) -> Path:
    for link in Path(f"/proc/{pid}/fd").iterdir():
        if _BACKEND in str(link.readlink()):
            return link
    raise InfraError(f"process {pid} has no memory-backend-memfd: is it a QEMU of ours?")
