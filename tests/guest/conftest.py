"""Recordings of real guests, made once and shared by all tests."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shootdown.arch import Arch
from shootdown.arch import get as arch_of
from shootdown.kernel import facts
from shootdown.kernel.cache import cache_root
from shootdown.kernel.facts import KernelFacts
from shootdown.run import directory, record
from shootdown.run.directory import RunDir
from shootdown.run.experiment import Experiment
from shootdown.trace.reader import Trace
from shootdown.trace.types import Events


class Recording:
    """A run directory of a guest that did what it was told, not judged by any rule."""

    def __init__(self, experiment: Experiment, run: RunDir) -> None:
        self.experiment = experiment
        self.run = run

    @property
    def arch(self) -> Arch:
        return arch_of(self.experiment.arch)

    @functools.cached_property
    def trace(self) -> Trace:
        return Trace(self.run.trace)

    @functools.cached_property
    def events(self) -> Events:
        return self.trace.events()

    @property
    def audit(self) -> dict[str, Any]:
        return directory.read_json(self.run.audit)

    @property
    def stats(self) -> dict[str, str]:
        """What the one workload reported."""
        (workload,) = directory.read_json(self.run.guest)["workloads"]
        assert workload["status"] == 0, workload
        stats: dict[str, str] = workload["stats"]
        return stats

    @functools.cached_property
    def kernel(self) -> KernelFacts:
        image = json.loads(self.run.command.read_text())["kernel"]["image"]
        return facts.load(Path(image), cache_root())


Record = Callable[..., Recording]


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Record:
    """Record an experiment, given by the fields of ``Experiment``; the same one only once."""

    @functools.cache
    def make(**what: Any) -> Recording:
        experiment = Experiment(**({"smp": 2, "mem": 256} | what))
        run = directory.create(tmp_path_factory.mktemp("guest") / "run")
        state = record.record(experiment, run, print)
        assert state.ended == "done", (state.message, state.tail)
        return Recording(experiment, run)

    return make
