"""Sources of kernels: which package a name means, and what is in it."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from shootdown import arch
from shootdown.errors import InfraError
from shootdown.kernel import built_source
from shootdown.kernel.apt import Package
from shootdown.kernel.built_source import SourceShelf
from shootdown.kernel.cache import write_json

PACKAGES = [
    Package(f"linux-source-{name}", version, suite)
    for name, version, suite in (
        ("6.1", "6.1.192-2", "bookworm-security"),
        ("6.12", "6.12.95-1~bpo12+1", "bookworm-backports"),
        ("6.12", "6.12.117-1", "trixie-security"),
        ("6.12", "6.12.117-1~deb12u1", "bookworm-security"),
    )
]


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("6.12", "6.12.117-1"),
        ("6.1", "6.1.192-2"),
        ("6.12.95", "6.12.95-1~bpo12+1"),
        ("6.12.117-1", "6.12.117-1"),
        ("6.12.11", None),
        ("6.13", None),
    ],
)
def test_newest_of_a_name(name: str, version: str | None) -> None:
    found = built_source.newest(name, PACKAGES)
    assert (found.version if found else None) == version


def shelf(cache: Path) -> SourceShelf:
    return SourceShelf(cache, arch.get("x86_64"))


def test_version_whose_source_is_here_is_not_looked_up(tmp_path: Path) -> None:
    tree = tmp_path / "source" / "9.9.9-1" / "tree"
    tree.mkdir(parents=True)
    assert shelf(tmp_path).version("9.9.9-1") == "9.9.9-1"
    assert shelf(tmp_path).tree("9.9.9-1") == tree
    assert not (tmp_path / "apt").exists()


def test_name_that_was_looked_up_lately_is_not_looked_up(tmp_path: Path) -> None:
    found = datetime.now(UTC).isoformat()
    record = tmp_path / "source" / "names" / "9.9.json"
    write_json(record, {"version": "9.9.9-1", "found": found})
    assert shelf(tmp_path).version("9.9") == "9.9.9-1"
    assert not (tmp_path / "apt").exists()


def package(place: Path, name: str, files: dict[str, str]) -> Path:
    """A Debian package with a compressed source tree of these files in it."""
    tree = place / "linux-source"
    for file, text in files.items():
        (tree / file).parent.mkdir(parents=True, exist_ok=True)
        (tree / file).write_text(text)
    packed = place / "deb" / "usr" / "src" / f"{name}.tar.xz"
    packed.parent.mkdir(parents=True)
    subprocess.run(["tar", "-cJf", packed, "-C", place, tree.name], check=True)
    control = place / "deb" / "DEBIAN" / "control"
    control.parent.mkdir()
    control.write_text(
        f"Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: none\nDescription: none\n"
    )
    archive = place / f"{name}.deb"
    command = ["dpkg-deb", "--root-owner-group", "--build", place / "deb", archive]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return archive


def test_package_is_unpacked(tmp_path: Path) -> None:
    archive = package(tmp_path, "linux-source-9.9", {"Kbuild": "k", "mm/a.c": "a"})
    into = tmp_path / "into"
    into.mkdir()
    built_source._extract(archive, "linux-source-9.9", into)
    assert (into / "mm" / "a.c").read_text() == "a"


def test_package_that_is_cut_off(tmp_path: Path) -> None:
    archive = package(tmp_path, "linux-source-9.9", {"Kbuild": "k"})
    archive.write_bytes(archive.read_bytes()[:-200])
    with pytest.raises(InfraError, match=r"linux-source-9\.9\.deb does not unpack"):
        built_source._extract(archive, "linux-source-9.9", tmp_path)


def test_package_of_something_else(tmp_path: Path) -> None:
    archive = package(tmp_path, "linux-source-9.9", {"README": "no kernel"})
    into = tmp_path / "into"
    into.mkdir()
    with pytest.raises(InfraError, match="holds no kernel source"):
        built_source._extract(archive, "linux-source-9.9", into)
    with pytest.raises(InfraError, match="does not unpack"):
        built_source._extract(archive, "linux-source-8.8", into)
