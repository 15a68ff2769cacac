"""Configurations from fragments: merged, written, and compared with what Kconfig made of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from shootdown import arch
from shootdown.errors import UsageError
from shootdown.kernel import built_config
from shootdown.kernel.built_recipe import IMAGES


def test_options_of_every_kind() -> None:
    text = (
        '# why\nCONFIG_A=y\n  CONFIG_B=-3\nCONFIG_C=0x10\nCONFIG_D="a \\"b\\" c"\n'
        "\n# CONFIG_E is not set\n#CONFIG_F=y\n"
    )
    assert built_config.parse(text) == {
        "CONFIG_A": "y",
        "CONFIG_B": "-3",
        "CONFIG_C": "0x10",
        "CONFIG_D": '"a \\"b\\" c"',
        "CONFIG_E": "n",
    }


@pytest.mark.parametrize(
    "line", ["CONFIG_A", "CONFIG_A=maybe", "A=y", 'CONFIG_A="x', "CONFIG_A=y # b"]
)
def test_line_that_is_no_option(line: str) -> None:
    with pytest.raises(UsageError, match=r"some\.config, line 2: "):
        built_config.parse(f"CONFIG_B=y\n{line}\n", "some.config")


def test_option_twice_in_a_fragment() -> None:
    with pytest.raises(UsageError, match="line 2: CONFIG_A is there twice"):
        built_config.parse("CONFIG_A=y\n# CONFIG_A is not set\n")


def test_last_fragment_wins_and_the_text_reads_back() -> None:
    merged = built_config.merge(
        [{"CONFIG_A": "y", "CONFIG_B": "y"}, {"CONFIG_C": "7"}, {"CONFIG_A": "n"}]
    )
    assert merged == {"CONFIG_A": "n", "CONFIG_B": "y", "CONFIG_C": "7"}
    text = built_config.render(merged)
    assert text == "# CONFIG_A is not set\nCONFIG_B=y\nCONFIG_C=7\n"
    assert built_config.parse(text) == merged


def test_every_option_that_did_not_survive_is_named() -> None:
    wanted = {"CONFIG_A": "y", "CONFIG_B": "y", "CONFIG_C": "8", "CONFIG_D": "n", "CONFIG_E": "n"}
    got = {"CONFIG_A": "y", "CONFIG_C": "4", "CONFIG_E": "y"}
    verified = built_config.verify(wanted, got, frozenset({"A", "C", "E"}))
    assert verified.unknown == ("CONFIG_B",)
    assert verified.dropped == ("CONFIG_C=8, is 4", "CONFIG_E=n, is y")


def test_options_of_a_tree_but_not_of_other_architectures(tmp_path: Path) -> None:
    for name, text in {
        "mm/Kconfig": 'config SWAP\n\tbool "swap"\nmenuconfig NUMA \n',
        "lib/Kconfig.debug": "config DEBUG_VM\n# config NOT_ONE\n",
        "arch/Kconfig": "config KPROBES\n",
        "arch/x86/Kconfig": "  config X86_PAT\n",
        "arch/arm64/Kconfig": "config ARM64\n",
        "mm/Makefile": "config NOT_HERE\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = built_config.known_options(tmp_path, "x86")
    assert found == {"SWAP", "NUMA", "DEBUG_VM", "KPROBES", "X86_PAT"}


@pytest.mark.parametrize("name", ["common", *arch.names()])
def test_fragments_parse(name: str) -> None:
    file = IMAGES / "kernel" / f"{name}.config"
    assert built_config.parse(file.read_text(), str(file))
