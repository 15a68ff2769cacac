"""Debian's kernels that cannot be used, each refused for what it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from shootdown import arch
from shootdown.cli.main import main
from shootdown.kernel import cache as store
from shootdown.kernel import deb
from shootdown.kernel.apt import PrivateApt
from shootdown.kernel.cache import cache_root
from shootdown.kernel.debian_versions import order

pytestmark = pytest.mark.slow

_CACHE = cache_root()
_RT = "is a PREEMPT_RT kernel: its mmap_lock and page-table locks are rt_mutexes"
_16K = "is an arm64 kernel with pages of 16 KiB, and tables of 4 KiB pages are what is read"


def newest(name: str, flavour: str) -> Path:
    """The package of the newest kernel of a flavour that Debian has in one of its own."""
    debian = arch.get(name).machine.debian
    shelf = _CACHE / "kernels" / name
    with store.locked(shelf / ".lock", "it fetches a kernel"):
        apt = PrivateApt(_CACHE / "apt" / debian, debian)
        apt.update(again=False)
        packages = apt.search(re.compile(rf"linux-binary-[0-9][^-]*-{flavour}"))
        return apt.download(max(packages, key=lambda p: order(p.version)))


@pytest.mark.parametrize(
    ("name", "flavour", "why"),
    [
        ("x86_64", "rt-amd64", _RT),
        ("arm64", "rt-arm64", _RT),
        ("arm64", "arm64-16k", _16K),
    ],
)
def test_refused_by_name(
    name: str, flavour: str, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    package = newest(name, flavour)
    kernel = deb.unpacked(package, _CACHE) / "vmlinuz"
    run = ["run", f"--arch={name}", f"--out={tmp_path / 'out'}"]
    said = []
    for words in (["doctor", f"--kernel={kernel}"], [*run, f"--kernel={package}"]):
        assert main(words) == 3
        said.append(capsys.readouterr().err.splitlines()[-1])
    assert said[0] == said[1]
    assert str(kernel) in said[0] and why in said[0]
