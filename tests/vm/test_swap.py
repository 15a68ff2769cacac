from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from shootdown.errors import InfraError
from shootdown.vm import swap


def fields(path: Path) -> tuple[bytes, bytes]:
    """Version, last page and number of bad pages; and the magic word."""
    first = path.read_bytes()[:4096]
    return first[1024:1036], first[-10:]


def test_the_header_is_that_of_mkswap(tmp_path: Path) -> None:
    mkswap = shutil.which("mkswap", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if mkswap is None:
        pytest.skip("mkswap is not installed")
    ours, theirs = swap.make(tmp_path / "ours", 64), tmp_path / "theirs"
    with theirs.open("wb") as file:
        file.truncate(64 << 20)
    subprocess.run([mkswap, "--pagesize", "4096", theirs], check=True, capture_output=True)
    assert fields(ours) == fields(theirs)
    assert ours.stat().st_size == theirs.stat().st_size
    assert ours.stat().st_blocks * 512 <= 8192  # sparse


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(InfraError, match="cannot write the swap file"):
        swap.make(tmp_path / "none" / "swap", 1)


def test_commas_in_paths() -> None:
    assert "file=/a,,b/swap" in swap.qemu_args(Path("/a,b/swap"))[1]
