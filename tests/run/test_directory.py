from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from shootdown.errors import InfraError, UsageError
from shootdown.run import directory


def test_new_directory_with_parents(tmp_path: Path) -> None:
    run = directory.create(tmp_path / "a" / "b")
    assert run.path.is_dir()


def test_directory_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text("{}")
    with pytest.raises(UsageError, match="not empty"):
        directory.create(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["result.json"]


def test_what_is_no_file_is_not_replaced_by_one(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        directory.write_text(pipe, "{}\n")
        assert os.read(reader, 9) == b"{}\n"
    finally:
        os.close(reader)
    assert pipe.is_fifo()
    assert [p.name for p in tmp_path.iterdir()] == ["pipe"]


def test_numbers_count_up(tmp_path: Path) -> None:
    names = [directory.create_numbered(tmp_path, "x").path.name for _ in range(2)]
    assert names == ["0001-x", "0002-x"]


@pytest.mark.parametrize("path", ["/proc/shootdown", "/dev/null/runs"])
def test_unwritable_is_infrastructure(path: str) -> None:
    with pytest.raises(InfraError, match="cannot write"):
        directory.create(Path(path))


def test_full_disk_is_infrastructure(tmp_path: Path) -> None:
    with pytest.raises(InfraError, match="MiB free"):
        directory.create(tmp_path / "a", room=1 << 60)


def test_full_disk_while_writing_is_one_sentence(tmp_path: Path) -> None:
    with (
        pytest.raises(InfraError, match="No space left on device"),
        directory.disk_errors(tmp_path),
    ):
        raise OSError(errno.ENOSPC, "x", str(tmp_path))


def test_not_a_run_directory(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run directory"):
        directory.existing(tmp_path)
    with pytest.raises(UsageError, match="no directory"):
        directory.existing(tmp_path / "none")


def test_json_files(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    assert directory.read_json(path) == {}
    directory.write_json(path, {"a": 1})
    assert directory.read_json(path) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]
    path.write_text("[1]")
    with pytest.raises(InfraError, match="JSON object"):
        directory.read_json(path)
    path.write_bytes(b"\xff\x00")
    with pytest.raises(InfraError):
        directory.read_json(path)
