"""Where built files and sources are."""

from __future__ import annotations

import os
from pathlib import Path

import shootdown
from shootdown.errors import InfraError


def repository() -> Path:
    """The source tree this package is installed from (editable)."""
    return Path(shootdown.__file__).resolve().parents[2]


def build_dir() -> Path:
    """Built plugin and guest: ``SHOOTDOWN_BUILD``, or ``build`` in the repository."""
    named = os.environ.get("SHOOTDOWN_BUILD")
    return Path(named) if named else repository() / "build"


def plugin() -> Path:
    """The plugin's shared object; raises InfraError when it was not built."""
    return _built(build_dir() / "plugin" / "shootdown.so", "plugin")


def agent(arch: str) -> Path:
    """The guest's init for an architecture; raises InfraError when it was not built."""
    return _built(build_dir() / "guest" / arch / "init", "guest")


def workload_names() -> list[str]:
    """Workloads in the source tree, without booting; empty when there is no source tree."""
    return sorted(path.stem for path in (repository() / "guest" / "workloads").glob("*.c"))


def _built(path: Path, target: str) -> Path:
    if not path.is_file():
        raise InfraError(f"{path} does not exist; run `make {target}` in {repository()}")
    return path
