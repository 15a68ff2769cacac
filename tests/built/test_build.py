"""Built kernels: what is in the cache, and that it is used again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shootdown import arch as architectures
from shootdown.cli.main import main
from shootdown.errors import ExitCode
from shootdown.kernel import built, built_config, facts
from shootdown.kernel.cache import cache_root

from .kernels import DEBUG, MARKS, MUTANTS, PLAIN, RT, of_all_archs

pytestmark = MARKS
EVERY = [*of_all_archs(*PLAIN, *DEBUG), *MUTANTS, *of_all_archs(RT)]

# Options that a kernel does not have: 7.2 has five levels always.
NOT_THERE = {("x86_64", "built:7.2"): ["CONFIG_X86_5LEVEL"]}


@pytest.mark.parametrize(("arch", "spec"), EVERY)
def test_kernel_is_built_once(arch: str, spec: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["build-kernel", spec, "--arch", arch, "--json"]
    assert main(command) == ExitCode.PASS
    capsys.readouterr()
    assert main(command) == ExitCode.PASS
    (about,) = json.loads(capsys.readouterr().out)
    assert about["fresh"] is False
    assert about["arch"] == arch


@pytest.mark.parametrize(("arch", "spec"), EVERY)
def test_kernel_is_what_was_asked_for(arch: str, spec: str) -> None:
    kernel = built.resolve(spec, architectures.get(arch), cache_root())
    about: dict[str, Any] = kernel.about
    assert about["unknown_options"] == NOT_THERE.get((arch, spec), [])
    name = built.validate(spec)
    known = facts.load(kernel.path, cache_root())
    assert known.arch == arch
    assert known.release.endswith(f"-shootdown{name.suffix}")
    assert known.release.startswith(name.version)
    config = built_config.parse(kernel.path.with_name("config").read_text())
    for variant in name.variants:
        assert variant.config.items() <= config.items() | {(k, "n") for k in variant.config}
