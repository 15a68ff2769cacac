from __future__ import annotations

from pathlib import Path

import pytest

from shootdown.errors import InfraError
from shootdown.vm import disk

SCRATCH_C = Path(__file__).parents[2] / "guest" / "scratch.c"


def test_a_sparse_file_of_zeros(tmp_path: Path) -> None:
    path = disk.make(tmp_path / "disk", 16)
    assert path.stat().st_size == 16 << 20
    assert path.stat().st_blocks == 0


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(InfraError, match="cannot write the disk"):
        disk.make(tmp_path / "none" / "disk", 1)


def test_commas_in_paths() -> None:
    assert "file=/a,,b/disk" in disk.qemu_args(Path("/a,b/disk"))[1]


def test_the_guest_looks_for_the_same_serial() -> None:
    assert f'serial[] = "{disk.SERIAL}"' in SCRATCH_C.read_text()
