"""Debian's kernels by name, from the real mirror."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from shootdown import arch
from shootdown.errors import InfraError, UsageError
from shootdown.kernel import debian
from shootdown.kernel.cache import cache_root, sha256

OFFLINE = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
SMALL = ("debian:7.2", "arm64")  # 10 MB, the smallest of the packages

# The first bytes a boot loader knows each architecture's image by, and where they are.
MAGIC = {"x86_64": (0x202, b"HdrS"), "arm64": (0x38, b"ARM\x64")}


def start(spec: str, name: str, cache: Path, **env: str) -> subprocess.Popen[str]:
    """Resolve in a process of its own; it prints the path."""
    code = (
        "import sys; from pathlib import Path; from shootdown import arch;"
        "from shootdown.kernel import debian;"
        "print(debian.resolve(sys.argv[1], arch.get(sys.argv[2]), Path(sys.argv[3])).path)"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, spec, name, str(cache)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **env},
        text=True,
    )


@pytest.fixture(scope="module")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def fetched(own_cache: Path) -> tuple[Path, list[str]]:
    """The small kernel in a cache of its own, and what two processes said that both wanted it."""
    racers = [start(*SMALL, own_cache) for _ in range(2)]
    results = [racer.communicate() for racer in racers]
    assert [racer.returncode for racer in racers] == [0, 0], results
    paths = {out.strip() for out, _ in results}
    assert len(paths) == 1
    return Path(paths.pop()), [err for _, err in results]


@pytest.mark.parametrize("name", arch.names())
def test_default_kernel_is_found_for_every_architecture(name: str) -> None:
    kernel = debian.resolve(debian.DEFAULT, arch.get(name), cache_root())
    assert kernel.release.startswith("6.12.")
    assert kernel.version.startswith("6.12.")
    assert kernel.package.endswith(kernel.release)
    offset, magic = MAGIC[name]
    assert kernel.path.read_bytes()[offset : offset + len(magic)] == magic


def test_two_processes_fetch_once(fetched: tuple[Path, list[str]]) -> None:
    path, said = fetched
    assert path.stat().st_size > 5_000_000
    assert sum(text.count("fetching ") for text in said) == 1


def test_nothing_is_left_beside_the_kernel(fetched: tuple[Path, list[str]]) -> None:
    path, _ = fetched
    assert {file.name for file in path.parent.iterdir()} == {"vmlinuz", "manifest.json"}
    assert {file.name for file in path.parent.parent.iterdir()} == {
        path.parent.name,
        "names",
        ".lock",
    }


def test_second_use_needs_neither_network_nor_apt(
    fetched: tuple[Path, list[str]], own_cache: Path
) -> None:
    again = start(*SMALL, own_cache, PATH="/nonexistent", **OFFLINE)
    out, err = again.communicate()
    assert (again.returncode, out.strip(), err) == (0, str(fetched[0]), "")


def test_release_in_the_cache_is_its_own_name(
    fetched: tuple[Path, list[str]], own_cache: Path
) -> None:
    release = fetched[0].parent.name
    for name in (release, release.removesuffix("-cloud-arm64")):
        kernel = debian.resolve(f"debian:{name}", arch.get("arm64"), own_cache)
        assert kernel.path == fetched[0]


def test_old_lookup_is_used_when_the_mirror_is_away(
    fetched: tuple[Path, list[str]],
    own_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    record = own_cache / "kernels" / "arm64" / "names" / "7.2.json"
    before = record.read_text()
    record.write_text(json.dumps({**json.loads(before), "found": "2001-01-01T00:00:00+00:00"}))
    os.utime(own_cache / "apt" / "arm64" / "updated", (0, 0))
    for name, value in OFFLINE.items():
        monkeypatch.setenv(name, value)
    try:
        kernel = debian.resolve(SMALL[0], arch.get("arm64"), own_cache)
    finally:
        record.write_text(before)
    assert kernel.path == fetched[0]
    assert "found earlier" in capfd.readouterr().err


def test_mirror_away_and_nothing_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in OFFLINE.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InfraError, match="cannot read Debian's package lists") as caught:
        debian.resolve("debian:6.12", arch.get("arm64"), tmp_path)
    assert "\n" not in str(caught.value)


def test_corrupted_entry_is_fetched_again(
    fetched: tuple[Path, list[str]], own_cache: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path, _ = fetched
    good, stat = sha256(path), path.stat()
    with path.open("r+b") as file:
        file.seek(4_000_000)
        byte = file.read(1)
        file.seek(4_000_000)
        file.write(bytes([byte[0] ^ 1]))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert sha256(path) != good
    assert debian.resolve(SMALL[0], arch.get("arm64"), own_cache).path == path
    assert sha256(path) == good
    assert "fetching " in capfd.readouterr().err


def test_unknown_version_names_what_there_is() -> None:
    with pytest.raises(UsageError, match=r"no cloud kernel 4\.4 .*6\.1 \(.*6\.12 \(.*7\.2 \("):
        debian.resolve("debian:4.4", arch.get("x86_64"), cache_root())


@pytest.mark.parametrize("spec", ["6.12", "debian:", "debian:../../x", "debian:six", "ubuntu:6.8"])
def test_a_name_that_is_none(spec: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no Debian kernel"):
        debian.resolve(spec, arch.get("x86_64"), tmp_path)
    assert not list(tmp_path.iterdir())


def test_cache_that_cannot_be_written(tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    with pytest.raises(InfraError, match="cannot keep kernels in"):
        debian.resolve("debian:6.12", arch.get("x86_64"), in_the_way)
