"""Surveys that are kept: one for each kernel, guest program and workload."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from shootdown import arch as architectures
from shootdown.errors import InfraError, SkippedError
from shootdown.kernel import cache
from shootdown.kernel.facts import KernelFacts
from shootdown.race import survey
from shootdown.race.survey import Survey
from shootdown.run import artifacts, directory, record
from shootdown.run.experiment import Experiment
from shootdown.run.session import SKIPPED_STATUS, Session
from shootdown.trace.reader import Trace

_ITERATIONS: Final = 30
"""Enough for every way that a workload takes through the kernel."""


def get(experiment: Experiment, facts: KernelFacts, tell: Callable[[str], None]) -> Survey:
    """The survey of a kernel under a workload; recorded when there is none yet.

    Raises what a recording raises, and SkippedError when the workload cannot run on that kernel.
    """
    path = cache.cache_root() / "surveys" / f"{_key(experiment, facts)}.json"
    with cache.locked(path.with_suffix(".lock"), f"a recording of {experiment.workloads}"):
        known = survey.of_json(cache.read_json(path) or {})
        if known is None:
            tell(f"a recording of {experiment.workloads} without holds, once for this kernel")
            known = _record(experiment, tell)
            cache.write_json(path, known.to_json())
    return known


def _key(experiment: Experiment, facts: KernelFacts) -> str:
    words = (
        *(str(survey.FORMAT), facts.build_id or cache.sha256(facts.path)),
        *(cache.sha256(artifacts.agent(experiment.arch)), experiment.arch, experiment.profile),
        *(experiment.workloads, experiment.append, experiment.options),
        *(str(experiment.swap), str(experiment.disk)),
    )
    return hashlib.sha256("\0".join(words).encode()).hexdigest()


def _record(experiment: Experiment, tell: Callable[[str], None]) -> Survey:
    plain = replace(experiment, mutate="", iterations=_ITERATIONS, plugin=True)
    with tempfile.TemporaryDirectory(prefix="shootdown-survey-") as scratch:
        run = directory.create(Path(scratch) / "run")
        state = record.record(plain, run, tell)
        if state.ended != "done":
            record.raise_failure(state)
            raise InfraError(f"{experiment.workloads} could not be recorded: {state.message}")
        _raise_skipped(state)
        return survey.take(Trace(run.trace), architectures.get(experiment.arch))


def _raise_skipped(state: Session) -> None:
    # A recording of nothing would be kept, and every point be missed in it.
    for workload in state.workloads:
        if workload["status"] == SKIPPED_STATUS:
            why = " ".join(workload["notes"]) or "see console.log"
            raise SkippedError(f"the workload {workload['name']} cannot run here: {why}")
