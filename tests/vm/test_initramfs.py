import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from shootdown.errors import InfraError, UsageError
from shootdown.vm import initramfs


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    path = tmp_path / "agent"
    path.write_bytes(b"\x7fELF agent")
    return path


def parse(archive: Path) -> dict[str, tuple[int, bytes, tuple[int, int]]]:
    """A reader of its own: name -> mode, data, device."""
    raw, at, found = archive.read_bytes(), 0, {}
    while True:
        assert at % 4 == 0
        assert raw[at : at + 6] == b"070701"
        fields = [int(raw[at + 6 + 8 * i : at + 14 + 8 * i], 16) for i in range(13)]
        _, mode, uid, gid, _, mtime, size, _, _, major, minor, name_size, check = fields
        assert (uid, gid, mtime, check) == (0, 0, 0, 0)
        name = raw[at + 110 : at + 110 + name_size - 1].decode()
        data_at = (at + 110 + name_size + 3) & ~3
        if name == "TRAILER!!!":
            assert not raw[data_at:].strip(b"\0")
            assert len(raw) % 512 == 0
            return found
        assert name not in found
        found[name] = (mode, raw[data_at : data_at + size], (major, minor))
        at = (data_at + size + 3) & ~3


def test_init_console_and_directories(tmp_path: Path, agent: Path):
    out = initramfs.build(tmp_path / "out.cpio", agent)
    found = parse(out)
    assert found["init"] == (stat.S_IFREG | 0o755, b"\x7fELF agent", (0, 0))
    assert found["dev/console"] == (stat.S_IFCHR | 0o600, b"", (5, 1))
    for name in ("dev", "proc", "sys", "tmp"):
        assert stat.S_ISDIR(found[name][0])
    assert list(found).index("dev") < list(found).index("dev/console")


def test_is_reproducible(tmp_path: Path, agent: Path):
    root = tmp_path / "root"
    for name in ("b", "a", "c/d"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    first = initramfs.build(tmp_path / "1", agent, rootfs=root).read_bytes()
    copy = tmp_path / "copy"
    for name in ("c/d", "a", "b"):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / name, copy / name)
        os.utime(copy / name, (1, 1))
    assert initramfs.build(tmp_path / "2", agent, rootfs=copy).read_bytes() == first


def test_extra_files_bring_their_directories_and_their_x_bit(tmp_path: Path, agent: Path):
    program, data = tmp_path / "program", tmp_path / "data"
    program.write_bytes(b"p")
    program.chmod(0o700)
    data.write_bytes(b"12345")
    extra = [("/usr/bin/program", program), ("/data", data)]
    found = parse(initramfs.build(tmp_path / "out", agent, extra))
    assert found["usr/bin/program"][:2] == (stat.S_IFREG | 0o755, b"p")
    assert found["data"][:2] == (stat.S_IFREG | 0o644, b"12345")
    assert stat.S_ISDIR(found["usr"][0])
    assert stat.S_ISDIR(found["usr/bin"][0])


def test_rootfs_keeps_links_and_cannot_replace_init(tmp_path: Path, agent: Path):
    root = tmp_path / "root"
    (root / "bin").mkdir(parents=True)
    (root / "init").write_text("other")
    (root / "bin/sh").symlink_to("busybox")
    (root / "lib").symlink_to("usr/lib")
    found = parse(initramfs.build(tmp_path / "out", agent, rootfs=root))
    assert found["init"][1] == b"\x7fELF agent"
    assert found["bin/sh"] == (stat.S_IFLNK | 0o777, b"busybox", (0, 0))
    assert stat.S_ISLNK(found["lib"][0])


@pytest.mark.parametrize("target", ["data", "", "/", "/a/../b", "/..", "/a\0b"])
def test_a_place_that_is_none_is_refused(tmp_path: Path, agent: Path, target: str):
    with pytest.raises(UsageError, match="no place in the guest"):
        initramfs.build(tmp_path / "out", agent, [(target, agent)])


def test_bad_sources_are_refused(tmp_path: Path, agent: Path):
    out = tmp_path / "out"
    with pytest.raises(UsageError, match="no regular file"):
        initramfs.build(out, agent, [("/x", tmp_path / "missing")])
    with pytest.raises(UsageError, match="no regular file"):
        initramfs.build(out, agent, [("/x", tmp_path)])
    with pytest.raises(UsageError, match="no directory"):
        initramfs.build(out, agent, rootfs=agent)
    with pytest.raises(UsageError, match="both a file and a directory"):
        initramfs.build(out, agent, [("/dev", agent)])
    with pytest.raises(UsageError, match="is no directory there"):
        initramfs.build(out, agent, [("/x", agent), ("/x/y", agent)])
    root = tmp_path / "root"
    root.mkdir()
    os.mkfifo(root / "pipe")
    with pytest.raises(UsageError, match="no regular file"):
        initramfs.build(out, agent, rootfs=root)


def test_missing_agent_and_unwritable_output(tmp_path: Path, agent: Path):
    with pytest.raises(InfraError, match="make guest"):
        initramfs.build(tmp_path / "out", tmp_path / "missing")
    with pytest.raises(InfraError, match="cannot write"):
        initramfs.build(tmp_path / "no/such/directory", agent)


@pytest.mark.skipif(shutil.which("cpio") is None, reason="cpio is not installed")
def test_cpio_reads_it(tmp_path: Path, agent: Path):
    out = initramfs.build(tmp_path / "out", agent, [("/etc/data", agent)])
    with out.open("rb") as archive:
        listed = subprocess.run(
            ["cpio", "-t", "--quiet"], stdin=archive, capture_output=True, text=True, check=True
        )
    assert listed.stdout.split() == sorted(parse(out))
