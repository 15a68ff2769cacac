from __future__ import annotations

import pytest

from shootdown import arch
from shootdown.errors import UsageError


def test_names_and_the_names_of_others() -> None:
    assert arch.names() == ("x86_64", "arm64")
    assert arch.get("amd64") is arch.get("x86_64") is arch.get("X86-64")
    assert arch.get("aarch64") is arch.get("arm64")
    for name in arch.names():
        assert arch.get(name).name == name


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match="'riscv': use one of x86_64, arm64"):
        arch.get("riscv")
