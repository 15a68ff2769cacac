"""Finds races by what a command line calls them."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from shootdown import arch as architectures
from shootdown import races
from shootdown.errors import UsageError
from shootdown.race import plan_file
from shootdown.race.api import Race
from shootdown.race.points import Plan, nearest


@dataclass(frozen=True)
class Found:
    """A race, or a plan from a file, and how a command line calls it."""

    call: str
    """What ``find`` finds exactly this one by."""
    about: str
    arch: tuple[str, ...]
    plan: Plan


def library() -> list[Found]:
    """The races that come with the tool."""
    found = []
    for module in pkgutil.iter_modules(races.__path__):
        found += _in(importlib.import_module(f"{races.__name__}.{module.name}"), module.name)
    return found


def find(call: str) -> list[Found]:
    """The races that ``call`` names.

    ``FILE.toml`` is a plan; ``FILE.py`` all races of a file and ``FILE.py::NAME`` one of them;
    ``MODULE`` and ``MODULE::NAME`` are those of the library. Raises UsageError with the nearest
    names when there is none, or the file cannot be executed.
    """
    where = call.partition("::")[0]
    if where.endswith(".toml"):
        plan = plan_file.load(Path(where))
        return [Found(where, "", architectures.names(), plan)]
    known = _in(_executed(Path(where)), where) if where.endswith(".py") else library()
    found = [race for race in known if call in (race.call, race.call.partition("::")[0])]
    if not found:
        raise UsageError(f"there is no race {call}{nearest(call, [race.call for race in known])}")
    return found


def races_of(names: Mapping[str, object]) -> dict[str, Race]:
    """The races among the names of a module."""
    return {name: value for name, value in names.items() if isinstance(value, Race)}


def _in(module: ModuleType, where: str) -> list[Found]:
    return [
        Found(f"{where}::{name}", race.about, race.arch, race.plan())
        for name, race in races_of(vars(module)).items()
    ]


def _executed(path: Path) -> ModuleType:
    if not path.is_file():
        raise UsageError(f"there is no file {path}; name a file of races, or see --list")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except UsageError:
        raise
    except Exception as error:  # whatever a user's file may raise
        line = traceback.extract_tb(error.__traceback__)[-1].lineno
        raise UsageError(f"{path} cannot be executed: {error!r} in line {line}") from error
    return module
