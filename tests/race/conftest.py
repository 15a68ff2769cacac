from __future__ import annotations

import pytest

from shootdown import arch as architectures
from shootdown.arch.base import Arch
from shootdown.kernel import debian, facts
from shootdown.kernel.cache import cache_root
from shootdown.kernel.facts import KernelFacts


@pytest.fixture(scope="session", params=architectures.names())
def arch(request: pytest.FixtureRequest) -> Arch:
    return architectures.get(request.param)


@pytest.fixture(
    scope="session",
    params=[(name, spec) for name in architectures.names() for spec in ("6.1", "6.12", "7.2")],
    ids="-".join,
)
def learned(request: pytest.FixtureRequest) -> KernelFacts:
    """Each of Debian's kernels."""
    name, spec = request.param
    image = debian.resolve(f"debian:{spec}", architectures.get(name), cache_root()).path
    return facts.load(image, cache_root())
