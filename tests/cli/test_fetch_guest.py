"""A guest that is asked for its symbols."""

from __future__ import annotations

from pathlib import Path

import pytest

from shootdown import arch
from shootdown.cli.main import main
from shootdown.errors import ExitCode
from shootdown.kernel import facts, kallsyms
from shootdown.kernel.cache import cache_root
from shootdown.kernel.image import KernelImage

from ..kernel.forms import stock

pytestmark = [pytest.mark.guest, pytest.mark.slow]


def nothing(_: KernelImage) -> None:
    return None


@pytest.mark.parametrize("name", arch.names())
def test_a_running_kernel_tells_what_its_image_does_not(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = stock(name)
    link = tmp_path / "kernel"
    link.symlink_to(known.path)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/kernels").symlink_to(cache_root() / "kernels")
    monkeypatch.setenv("SHOOTDOWN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(kallsyms, "read_tables", nothing)
    assert main(["fetch", str(link), "--arch", name, "--boot"]) == ExitCode.PASS
    found = facts.load(link, cache_root())
    assert found.symbols_from.startswith("/proc/kallsyms, ")
    assert found.members == known.members
    assert {n: found.symbols[n] for n in known.symbols} == dict(known.symbols)
