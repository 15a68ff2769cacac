"""Races as tests: what pytest finds of ``@race`` in a file is a test for each architecture.

A race passes when its trial does: its holds fired and no armed rule was broken. Where a function of
your own shall judge, mark it and take the fixtures::

    @pytest.mark.race(load_before_flush)
    def test_windows(verdict, trace, guest): ...
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from shootdown import arch as architectures
from shootdown.errors import ShootdownError, SkippedError
from shootdown.race import trial
from shootdown.race.api import Race
from shootdown.report.result import Result
from shootdown.report.text import render
from shootdown.run import directory
from shootdown.run.experiment import Experiment

if TYPE_CHECKING:
    from shootdown.frames.recording import Trace

DEFAULT: Final = Experiment("x86_64")


@dataclass(frozen=True)
class Trial:
    """A trial that has ended."""

    path: Path
    """Its run directory."""
    result: Result

    @cached_property
    def trace(self) -> Trace:
        """What was recorded, as pandas tables. Raises what opening it raises."""
        from shootdown.frames.recording import Trace  # noqa: PLC0415  pandas takes a second

        return Trace(self.path)

    @cached_property
    def guest(self) -> dict[str, Any]:
        """How the guest ended, and what its workloads counted (guest.json)."""
        return directory.read_json(self.path / "guest.json")


class RaceError(Exception):
    """A trial that did not pass; says its whole report."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options; all have the defaults of ``shootdown race``."""
    group = parser.getgroup("shootdown", "races")
    group.addoption("--race-kernel", default=DEFAULT.kernel, metavar="SPEC", help="kernel of races")
    group.addoption("--race-arch", default="all", metavar="NAME", help="architecture of races")
    group.addoption("--race-trials", type=int, default=1, metavar="N", help="guests for each race")
    group.addoption("--race-seed", type=int, default=DEFAULT.seed, metavar="N", help="first seed")
    group.addoption("--race-mutate", default="", metavar="NAME", help="change the kernel's text")
    group.addoption("--race-profile", default="", metavar="NAME", help="profile of the guest")
    group.addoption("--race-snapshot", default="off", metavar="auto|off", help="auto: boot once")


def pytest_configure(config: pytest.Config) -> None:
    """Make the markers known."""
    config.addinivalue_line("markers", "guest: boots a real kernel under QEMU (minutes)")
    config.addinivalue_line("markers", "race(race, arch=NAME): the trial that the fixtures are of")


def pytest_pycollect_makeitem(
    collector: pytest.Module | pytest.Class, name: str, obj: object
) -> list[RaceItem] | None:
    """A test for each architecture of a race. One that was imported is collected where it is."""
    if not isinstance(obj, Race) or obj.function.__module__ != collector.module.__name__:
        return None
    return [
        RaceItem.from_parent(collector, name=f"{name}[{arch}]", race=obj, arch=arch)
        for arch in _architectures(collector.config, obj)
    ]


class RaceItem(pytest.Item):
    """One race on one architecture."""

    def __init__(self, *, race: Race, arch: str, **others: Any) -> None:
        super().__init__(**others)
        self._race = race
        self._arch = arch
        self.add_marker("guest")

    def runtest(self) -> None:
        """Run its trials; the first that does not pass fails it."""
        factory: pytest.TempPathFactory = self.config._tmp_path_factory  # type: ignore[attr-defined]
        seed = self.config.getoption("race_seed")
        for number in range(seed, seed + self.config.getoption("race_trials")):
            done = _run(self.config, self._race, self._arch, number, factory.mktemp("race"))
            for key, count in done.result.holds.items():
                self.user_properties.append((f"holds_{key}", count))
            if done.result.exit_code:
                raise RaceError(render(done.result))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], *_: Any) -> str:
        """The report of the trial, or the one sentence of an error; a bug has its traceback."""
        if isinstance(excinfo.value, RaceError | ShootdownError):
            return str(excinfo.value)
        return str(super().repr_failure(excinfo))

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Where the race is, and its name."""
        line = self._race.function.__code__.co_firstlineno - 1
        return self.path, line, f"race: {self.name}"


RunRace = Callable[..., Trial]


@pytest.fixture
def run_race(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> RunRace:
    """A function that runs one trial: ``run_race(race, arch="arm64", seed=1)``."""

    def run(race: Race, arch: str = "", seed: int | None = None) -> Trial:
        config = request.config
        name = arch or _architectures(config, race)[0]
        number = config.getoption("race_seed") if seed is None else seed
        return _run(config, race, name, number, tmp_path_factory.mktemp("race"))

    return run


@pytest.fixture
def race_trial(request: pytest.FixtureRequest, run_race: RunRace) -> Iterator[Trial]:
    """The trial of the race in the marker ``race``."""
    marker = request.node.get_closest_marker("race")
    if marker is None or not marker.args:
        raise pytest.UsageError("the fixtures of a race need @pytest.mark.race(RACE)")
    yield run_race(*marker.args, **marker.kwargs)


@pytest.fixture
def verdict(race_trial: Trial) -> Result:
    """What ``result.json`` holds."""
    return race_trial.result


@pytest.fixture
def trace(race_trial: Trial) -> Trace:
    """The recording as pandas tables."""
    return race_trial.trace


@pytest.fixture
def guest(race_trial: Trial) -> dict[str, Any]:
    """How the guest ended, and what its workloads counted."""
    return race_trial.guest


def _architectures(config: pytest.Config, race: Race) -> tuple[str, ...]:
    wanted = config.getoption("race_arch")
    if wanted == "all":
        return race.arch
    name = architectures.get(wanted).name
    return tuple(arch for arch in race.arch if arch == name)


def _run(config: pytest.Config, race: Race, arch: str, seed: int, parent: Path) -> Trial:
    experiment = Experiment(
        arch,
        kernel=config.getoption("race_kernel"),
        mutate=config.getoption("race_mutate"),
        profile=config.getoption("race_profile"),
        snapshot=config.getoption("race_snapshot"),
    )
    run = directory.create(parent / f"{race.name}-{arch}-{seed}", trial.ROOM_BYTES)
    try:
        staged = trial.stage(race.plan(), experiment, _silent)
        call = f"{race.function.__code__.co_filename}::{race.name}"
        line = trial.command_line(call, staged.experiment, seed)
        return Trial(run.path, trial.trial(staged, run, _silent, seed=seed, reproduce=line))
    except SkippedError as error:
        pytest.skip(str(error))


def _silent(_: str) -> None:
    pass
