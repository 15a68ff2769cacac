"""Page-table locks, frames and tables on built kernels, locks as pointers among them."""

from __future__ import annotations

import pytest

from ..guest.conftest import Record
from ..guest.test_counting_tables import (
    Counted,
    counting,
    test_all_stores_of_the_run_are_under_their_lock,
    test_every_allocation_follows_a_free,
    test_every_phase_is_in_the_trace,
    test_no_frame_is_mapped_while_it_is_free,
    test_no_lock_word_is_broken,
    test_no_table_is_freed_under_a_walk,
    test_nothing_was_lost,
    test_one_event_less_is_noticed,
    test_one_table_less_is_noticed,
    test_the_page_map_knows_the_frames_that_were_freed,
    test_the_process_counts_its_tables,
    test_trace_and_source_agree,
)
from .kernels import DEBUG, MARKS, PLAIN, guest, of_all_archs

pytestmark = MARKS
__all__ = (
    "test_all_stores_of_the_run_are_under_their_lock",
    "test_every_allocation_follows_a_free",
    "test_every_phase_is_in_the_trace",
    "test_no_frame_is_mapped_while_it_is_free",
    "test_no_lock_word_is_broken",
    "test_no_table_is_freed_under_a_walk",
    "test_nothing_was_lost",
    "test_one_event_less_is_noticed",
    "test_one_table_less_is_noticed",
    "test_the_page_map_knows_the_frames_that_were_freed",
    "test_the_process_counts_its_tables",
    "test_trace_and_source_agree",
)


@pytest.fixture(scope="module", params=of_all_archs(*PLAIN, *DEBUG), ids="-".join)
def counted(request: pytest.FixtureRequest, recording: Record) -> Counted:
    return counting(recording, **guest(*request.param))
