from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import numpy as np
import pytest

from shootdown.errors import InfraError
from shootdown.vm.memory import GuestMemory

BASE = 0x4000_0000
SIZE = 0x3000


@pytest.fixture
def backend() -> Iterator[int]:
    """RAM as QEMU keeps it, but of this process: word N holds N."""
    fd = os.memfd_create("memory-backend-memfd")
    os.write(fd, np.arange(SIZE // 8, dtype=np.uint64).tobytes())
    yield fd
    os.close(fd)


@pytest.fixture
def memory(backend: int) -> GuestMemory:
    return GuestMemory.of_process(os.getpid(), BASE)


def test_read_and_table_see_the_memory(memory: GuestMemory) -> None:
    assert (memory.base, memory.size) == (BASE, SIZE)
    assert memory.read(BASE + 0x1008, 2) == b"\x01\x02"
    assert memory.table(BASE + 0x1000).tolist() == list(range(512, 1024))


def test_table_is_a_live_read_only_view(memory: GuestMemory, backend: int) -> None:
    table = memory.table(BASE)
    os.pwrite(backend, b"\xff", 8)
    assert table[1] == 0xFF
    with pytest.raises(ValueError, match="read-only"):
        table[1] = 0


def test_views_outlive_the_memory_and_its_owner(backend: int) -> None:
    table = GuestMemory.of_process(os.getpid(), BASE).table(BASE)
    os.ftruncate(backend, SIZE)
    assert table[511] == 511


@pytest.mark.parametrize(("pa", "size"), [(0, 8), (BASE - 1, 1), (BASE + SIZE - 1, 2), (BASE, -1)])
def test_outside_ram_is_an_error_that_names_ram(memory: GuestMemory, pa: int, size: int) -> None:
    with pytest.raises(InfraError, match="guest RAM, which is 0x40000000 up to 0x40003000"):
        memory.read(pa, size)


def test_tables_are_aligned(memory: GuestMemory) -> None:
    with pytest.raises(InfraError, match="not 4 KiB aligned"):
        memory.table(BASE + 8)


def test_process_without_guest_memory() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        with pytest.raises(InfraError, match="no memory-backend-memfd"):
            GuestMemory.of_process(child.pid, 0)
        child.kill()
    with pytest.raises(InfraError, match="cannot be mapped"):
        GuestMemory.of_process(child.pid, 0)
