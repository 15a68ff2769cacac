"""Which packages, and which of their libraries, a program needs in order to start.

A package's ``Depends`` names far more than a program loads. So the program's own list is followed
(DT_NEEDED, and that of each library), and a dependency is only fetched while a library is missing:
those first whose names look like the library's.
"""

from __future__ import annotations

import re
from collections import deque
from difflib import SequenceMatcher
from pathlib import Path
from typing import Protocol

from shootdown.errors import InfraError
from shootdown.loads.elf import linkage


class Repository(Protocol):
    """Where packages come from."""

    def depends(self, package: str) -> list[str]:
        """Names of the packages that a package depends on, alternatives included."""
        ...

    def files(self, package: str) -> dict[str, Path] | None:
        """The regular files of a package by file name; None when there is no such package."""
        ...


def closure(program: Path, package: str, repository: Repository) -> dict[str, Path]:
    """Every library that ``program``, a file of ``package``, needs to start, by SONAME.

    Raises InfraError when none of the packages that should has a library.
    """
    found: dict[str, Path] = {}
    todo = deque([(program, package)])
    while todo:
        file, owner = todo.popleft()
        for soname in linkage(file).needed:
            if soname not in found:
                provider, path = _look(soname, owner, repository)
                found[soname] = path
                todo.append((path, provider))
    return found


def _look(soname: str, owner: str, repository: Repository) -> tuple[str, Path]:
    names = dict.fromkeys([owner, *_likely(soname, repository.depends(owner))])
    for name in names:
        files = repository.files(name)
        if files and soname in files:
            return name, files[soname]
    raise InfraError(
        f"{owner} needs {soname}, and no package it depends on has it: it cannot run in the guest"
    )


def _likely(soname: str, packages: list[str]) -> list[str]:
    # libfoo.so.2 is in libfoo2, libfoo2t64 or libfoo-2; libc.so.6, libm.so.6, ld-linux in libc6.
    wanted = re.sub(r"\.so|[^a-z0-9+]", "", soname.lower())
    key = {name: SequenceMatcher(None, wanted, name).ratio() for name in packages}
    return sorted(packages, key=lambda name: key[name], reverse=True)
