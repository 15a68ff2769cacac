"""Event groups on built kernels, where faults are inlined into their handler."""

from __future__ import annotations

import pytest

from ..guest.conftest import Record
from ..guest.test_counting_events import (
    Counted,
    counts,
    test_every_child_of_a_fork_gives_its_vmas_back,
    test_every_phase_is_in_the_trace,
    test_frames_tell_the_same,
    test_nothing_was_lost,
    test_one_event_less_is_noticed,
    test_trace_and_source_agree,
    test_witnesses_and_source_agree,
)
from .kernels import DEBUG, MARKS, PLAIN, guest, of_all_archs

pytestmark = MARKS
__all__ = (
    "test_every_child_of_a_fork_gives_its_vmas_back",
    "test_every_phase_is_in_the_trace",
    "test_frames_tell_the_same",
    "test_nothing_was_lost",
    "test_one_event_less_is_noticed",
    "test_trace_and_source_agree",
    "test_witnesses_and_source_agree",
)


@pytest.fixture(scope="module", params=of_all_archs(*PLAIN, *DEBUG), ids="-".join)
def counted(request: pytest.FixtureRequest, recording: Record) -> Counted:
    return counts(recording, **guest(*request.param))
