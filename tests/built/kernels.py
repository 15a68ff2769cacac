"""Which kernels the tests build."""

from __future__ import annotations

from typing import Final

import pytest

from shootdown.arch import names

PLAIN: Final = ("built:6.12", "built:7.2")
DEBUG: Final = ("built:6.12+debug", "built:6.12+kasan")
MUTANTS: Final = (
    ("x86_64", "built:6.12+mapfixed-noflush"),
    ("x86_64", "built:6.12+mprotect-noflush"),
    ("arm64", "built:6.12+mprotect-noflush"),
    ("arm64", "built:6.12+tlbi-no-dsb"),
)
RT: Final = "built:6.12+rt"

MARKS: Final = [pytest.mark.built, pytest.mark.guest, pytest.mark.slow]
"""Of every test here: never part of ``make test``."""


def of_all_archs(*specs: str) -> list[tuple[str, str]]:
    """(architecture, name) of each kernel for each architecture."""
    return [(arch, spec) for spec in specs for arch in names()]
