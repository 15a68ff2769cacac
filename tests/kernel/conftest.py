"""The kernels that every part of ``shootdown.kernel`` is tried on."""

from __future__ import annotations

from pathlib import Path

import pytest

from shootdown import arch
from shootdown.arch.base import Arch
from shootdown.kernel import debian, facts, kallsyms
from shootdown.kernel.cache import cache_root
from shootdown.kernel.facts import KernelFacts
from shootdown.kernel.image import KernelImage, load
from shootdown.kernel.symbols import SymbolTable

KERNELS = [(name, f"debian:{spec}") for name in arch.names() for spec in ("6.1", "6.12", "7.2")]


@pytest.fixture(scope="session", params=KERNELS, ids="-".join)
def kernel(request: pytest.FixtureRequest) -> tuple[Arch, Path]:
    """Architecture and file of one of Debian's kernels."""
    name, spec = request.param
    which = arch.get(name)
    return which, debian.resolve(spec, which, cache_root()).path


@pytest.fixture(scope="session")
def image(kernel: tuple[Arch, Path]) -> KernelImage:
    return load(kernel[1])


@pytest.fixture(scope="session")
def symbols(image: KernelImage) -> SymbolTable:
    """The kernel's own table, without what facts add."""
    return kallsyms.read(image)


@pytest.fixture(scope="session")
def learned(image: KernelImage) -> KernelFacts:
    return facts.learn(image)
