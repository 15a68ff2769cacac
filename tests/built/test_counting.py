"""Counting on built kernels: trace == source == witnesses, as on stock ones."""

from __future__ import annotations

import pytest

from shootdown.model.counting import derived, probe, witness
from shootdown.model.counting.derived import Derivation
from shootdown.model.counting.traced import FLUSHES

from ..guest.conftest import Record
from ..guest.test_counting import ITERATIONS, UNWITNESSED, Counted, count
from .kernels import MARKS, PLAIN, of_all_archs

pytestmark = MARKS


@pytest.fixture(scope="module", params=of_all_archs(*PLAIN), ids="-".join)
def counted(request: pytest.FixtureRequest, recording: Record) -> Counted:
    arch, kernel = request.param
    made = recording(arch=arch, kernel=kernel, workloads="counting", iterations=ITERATIONS)
    traits = probe.probe(made.kernel, made.events)
    return Counted(made, count(made, made.events), Derivation(traits, FLUSHES[arch]))


def test_nothing_was_lost(counted: Counted) -> None:
    assert counted.recording.trace.complete
    assert counted.recording.trace.lost == 0
    assert counted.recording.audit["mismatches"] == 0


def test_trace_and_source_agree(counted: Counted) -> None:
    assert [phase.name for phase in counted.phases] == list(derived.NAMES) * ITERATIONS
    found = [
        f"iteration {phase.iteration}, {difference}"
        for phase in counted.phases
        for difference in witness.differences(
            phase.name, phase.figures, counted.derivation.phase(phase)
        )
    ]
    assert found == []


@pytest.mark.parametrize("name", witness.WITNESSES)
def test_witness_and_source_agree(counted: Counted, name: str) -> None:
    recording = counted.recording
    if name in UNWITNESSED.get(recording.arch.name, ()):
        assert all(name in witness.missing(phase, recording.stats) for phase in derived.NAMES)
        pytest.skip(f"nothing on {recording.arch.name} calls the tracepoint tlb_flush: no {name}")
    right = {
        phase.name: witness.WITNESSES[name](counted.derivation.phase(phase))
        for phase in counted.last
    }
    assert {phase: int(recording.stats[f"{phase}.{name}"]) for phase in right} == right
