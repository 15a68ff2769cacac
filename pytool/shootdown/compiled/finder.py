"""Puts the extension modules in the place of their sources, for one process."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ExtensionFileLoader, ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Final

from shootdown.compiled.place import built, extension
from shootdown.compiled.table import COMPILED

SWITCH: Final = "SHOOTDOWN_COMPILED"
"""Environment variable: ``0`` has a command's checker interpreted."""


class _Finder(MetaPathFinder):
    """Finds the modules of one build."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in COMPILED:
            return None
        file = str(self._directory / extension(fullname))
        return spec_from_file_location(fullname, file, loader=ExtensionFileLoader(fullname, file))


class _State:
    refused = False


def use() -> bool:
    """Have the checker compiled in this process, and say whether it is.

    It is not where nothing was built of the source as it is now, nor once anything of it was
    imported: extension types and the classes of the same names do not mix.
    """
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return True
    if (
        _State.refused
        or os.environ.get(SWITCH) == "0"
        or not sys.modules.keys().isdisjoint(COMPILED)
    ):
        return False
    directory = built()
    if directory is None:
        return False
    sys.meta_path.insert(0, _Finder(directory))
    return True


def refuse() -> None:
    """``use`` does nothing from here on: somebody is going to patch classes."""
    _State.refused = True
