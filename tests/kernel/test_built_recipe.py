"""Names of built kernels, variants, and the key that a kernel is kept under."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from shootdown import arch
from shootdown.errors import UsageError
from shootdown.kernel import built_recipe
from shootdown.kernel.built_recipe import IMAGES, Recipe
from shootdown.kernel.built_tools import CLANG, GCC

TOOLS = ("gcc: 12", "ld: 2.40", "pahole: 1.24")


def recipe(spec: str, images: Path = IMAGES, arch_name: str = "x86_64") -> Recipe:
    name = built_recipe.parse(spec, images)
    return built_recipe.make(name, arch.get(arch_name), "6.12.117-1", TOOLS, images)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A copy of the recipes, to change."""
    for name in ("kernel", "variants"):
        shutil.copytree(IMAGES / name, tmp_path / name)
    return tmp_path


def write(images: Path, name: str, text: str) -> None:
    (images / "variants" / f"{name}.toml").write_text(text)


def test_name() -> None:
    name = built_recipe.parse("built:6.12.117-1+debug+kasan")
    assert name.version == "6.12.117-1"
    assert [variant.name for variant in name.variants] == ["debug", "kasan"]
    assert name.suffix == "+debug+kasan"
    assert built_recipe.parse("built:7.2").variants == ()


def test_toolchain() -> None:
    assert built_recipe.parse("built:6.12+debug").toolchain is GCC
    assert built_recipe.parse("built:6.12+debug+clang").toolchain is CLANG


def test_two_toolchains(images: Path) -> None:
    write(images, "gcc", "summary = 'x'\ntoolchain = 'gcc'")
    with pytest.raises(UsageError, match="is to be built with clang and with gcc"):
        built_recipe.parse("built:6.12+gcc+clang", images)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("built:", "no built kernel"),
        ("built:6", "no built kernel"),
        ("built:6.12+", "no built kernel"),
        ("built:6.12+../x", "no built kernel"),
        ("built:6.12+nosuch", "there is no variant nosuch; known are clang, debug, kasan"),
        ("built:6.12+debug+debug", "twice"),
    ],
)
def test_name_that_means_nothing(spec: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        built_recipe.parse(spec)


def test_variant_of_another_architecture() -> None:
    assert built_recipe.parse("built:6.12+tlbi-no-dsb+debug").archs == ("arm64",)
    with pytest.raises(UsageError, match="tlbi-no-dsb is for arm64, not x86_64"):
        recipe("built:6.12+tlbi-no-dsb")


def test_variants_lie_over_the_kernel() -> None:
    plain, debug = recipe("built:6.12"), recipe("built:6.12+debug")
    assert "CONFIG_PROVE_LOCKING" not in plain.config
    assert debug.config["CONFIG_PROVE_LOCKING"] == "y"
    assert debug.config.items() > plain.config.items()
    assert recipe("built:6.12+rt").config["CONFIG_PREEMPT"] == "n"
    assert len(recipe("built:6.12+mapfixed-noflush").edits) == 1


def test_key_is_of_everything_that_matters(images: Path) -> None:
    first = recipe("built:6.12", images)
    assert recipe("built:6.12", images).key == first.key
    others = [
        replace(first, source="6.12.118-1"),
        replace(first, tools=("gcc: 13", *TOOLS[1:])),
        replace(first, config=first.config | {"CONFIG_KSM": "n"}),
        recipe("built:6.12", images, "arm64"),
        recipe("built:6.12+debug", images),
        recipe("built:6.12+mapfixed-noflush", images),
    ]
    assert len({first.key, *(other.key for other in others)}) == 1 + len(others)
    fragment = images / "kernel" / "x86_64.config"
    fragment.write_text(fragment.read_text() + "CONFIG_BPF_JIT=y\n")
    assert recipe("built:6.12", images).key != first.key


def test_key_is_not_of_words(images: Path) -> None:
    before = recipe("built:6.12+mapfixed-noflush", images)
    file = images / "variants" / "mapfixed-noflush.toml"
    file.write_text(file.read_text().replace('why = "', 'why = "in other words: '))
    common = images / "kernel" / "common.config"
    common.write_text("# a comment\n" + common.read_text())
    after = recipe("built:6.12+mapfixed-noflush", images)
    assert after.edits != before.edits
    assert after.key == before.key
    file.write_text(file.read_text().replace("cleared_p4ds = 0", "cleared_p4ds = 1"))
    assert recipe("built:6.12+mapfixed-noflush", images).key != before.key


def test_edits_share_a_working_directory_and_configurations_do_not() -> None:
    plain = recipe("built:6.12").work_key
    assert recipe("built:6.12+mapfixed-noflush").work_key == plain
    assert recipe("built:6.12+debug").work_key != plain


@pytest.mark.parametrize("name", built_recipe.variants())
def test_variant_is_for_somebody_and_says_what_it_is(name: str) -> None:
    variant = built_recipe.load(name)
    assert variant.summary
    assert set(variant.archs) <= set(arch.names())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("summary = 1\nconfig = 'CONFIG_A=y'", "summary"),
        ("summary = 'x'", "config, edits or toolchain is needed"),
        ("summary = 'x'\ntoolchain = 'icc'", "'icc' is none of gcc, clang"),
        ("summary = 'x'\nconfigs = 'CONFIG_A=y'", "unknown key configs"),
        ("summary = 'x'\nconfig = 'A=y'", "is no option"),
        ("summary = 'x'\narchs = ['mips']\nconfig = 'CONFIG_A=y'", "mips"),
        ("summary = 'x'\nconfig = 'CONFIG_A=y'\nedits = 'x'", "lists"),
        ("summary = ", "is not TOML"),
        ("summary = 'x'\nedits = [1]", "an edit"),
    ],
)
def test_variant_that_is_wrong_is_named(images: Path, text: str, said: str) -> None:
    write(images, "mine", text)
    with pytest.raises(UsageError, match=f"mine.toml.*{said}"):
        built_recipe.load("mine", images)
