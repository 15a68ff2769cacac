"""What a run directory says of its recording; it is untrusted, and may say anything."""

from typing import Any

import pytest

from shootdown.model.known import known


def test_what_was_recorded_and_what_was_not() -> None:
    groups = {
        "vmas": {"recorded": True, "absent": ["vm_area_dup inside copy_mm"]},
        "asid": {"recorded": False, "absent": ["new_context"]},
    }
    found = known({"events": groups})
    assert found.recorded == {"vmas"}
    assert found.absent >= {"vm_area_dup inside copy_mm"}


@pytest.mark.parametrize(
    "command", [{}, {"events": 7}, {"events": {"vmas": 1}}, {"events": {"vmas": {"absent": 3}}}]
)
def test_nonsense_says_nothing(command: dict[str, Any]) -> None:
    assert (known(command).recorded, known(command).absent) == (frozenset(), frozenset())
