"""Counting on built kernels: trace == source == witnesses, as on stock ones."""

from __future__ import annotations

import pytest

from ..guest.conftest import Record
from ..guest.test_counting import (
    Counted,
    counting,
    test_every_phase_is_in_the_trace,
    test_nothing_was_lost,
    test_one_event_less_is_noticed,
    test_trace_and_source_agree,
    test_witness_and_source_agree,
    test_witnesses_saw_every_iteration_alike,
)
from .kernels import DEBUG, MARKS, PLAIN, guest, of_all_archs

pytestmark = MARKS
__all__ = (
    "test_every_phase_is_in_the_trace",
    "test_nothing_was_lost",
    "test_one_event_less_is_noticed",
    "test_trace_and_source_agree",
    "test_witness_and_source_agree",
    "test_witnesses_saw_every_iteration_alike",
)


@pytest.fixture(scope="module", params=of_all_archs(*PLAIN, *DEBUG), ids="-".join)
def counted(request: pytest.FixtureRequest, recording: Record) -> Counted:
    return counting(recording, **guest(*request.param))
