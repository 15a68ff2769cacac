"""Which kernels the tests build."""

from __future__ import annotations

from typing import Any, Final

import pytest

from shootdown.arch import names
from shootdown.run import source

CLANG: Final = "built:6.12+clang"
PLAIN: Final = ("built:6.12", "built:7.2", CLANG)
DEBUG: Final = ("built:6.12+debug", "built:6.12+debug+kasan")
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


def guest(arch: str, spec: str) -> dict[str, Any]:
    """The fields of ``Experiment`` that a kernel wants."""
    return {"arch": arch, "kernel": spec, "mem": max(256, source.needed_mem(spec))}
