"""Built kernels: what is in the cache, and that it is used again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shootdown import arch as architectures
from shootdown.cli.main import main
from shootdown.errors import ExitCode
from shootdown.kernel import built, built_config, built_edits, built_recipe, facts
from shootdown.kernel.built_source import SourceShelf
from shootdown.kernel.cache import cache_root

from .kernels import DEBUG, MARKS, MUTANTS, PLAIN, RT, of_all_archs

pytestmark = MARKS
EVERY = [*of_all_archs(*PLAIN, *DEBUG), *MUTANTS, *of_all_archs(RT)]

# Options that a kernel does not have. 7.2 always has five levels, PAN and LSE atomics; what 6.12
# moves between nodes goes by MIGRATION alone.
NOT_THERE = {
    ("x86_64", "6.12"): ["CONFIG_NUMA_MIGRATION"],
    ("arm64", "6.12"): ["CONFIG_NUMA_MIGRATION"],
    ("x86_64", "7.2"): ["CONFIG_X86_5LEVEL"],
    ("arm64", "7.2"): [
        *("CONFIG_ARM64_PAN", "CONFIG_ARM64_LSE_ATOMICS", "CONFIG_ARM64_USE_LSE_ATOMICS"),
    ],
}


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
    name = built.validate(spec)
    assert about["unknown_options"] == NOT_THERE[arch, name.version]
    known = facts.load(kernel.path, cache_root())
    assert known.arch == arch
    assert known.release.endswith(f"-shootdown{name.suffix}")
    assert known.release.startswith(name.version)
    config = built_config.parse(kernel.path.with_name("config").read_text())
    for variant in name.variants:
        assert variant.config.items() <= config.items() | {(k, "n") for k in variant.config}


@pytest.mark.parametrize("version", ["6.12", "7.2"])
@pytest.mark.parametrize("variant", built_recipe.variants())
def test_edits_match_every_source(variant: str, version: str) -> None:
    shelf = SourceShelf(cache_root(), architectures.get("x86_64"))
    tree = shelf.tree(shelf.version(version))
    edits = built_recipe.load(variant).edits
    changed = built_edits.apply(edits, built_edits.reader(tree))
    assert bool(changed) == bool(edits)
