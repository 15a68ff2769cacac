"""What holds say about a run."""

from __future__ import annotations

from typing import Any

import pytest

from shootdown.run import evidence


def holds(*held: tuple[bool, bool], planned: int = 0) -> dict[str, Any]:
    """holds.json: of each hold whether it timed out, and whether it had to."""
    return {
        "planned": planned or len(held),
        "fired": len(held),
        "timed_out": sum(timed_out for timed_out, _ in held),
        "held": [
            {"hold": f"hold {n}", "timed_out": out, "infeasible": infeasible, "why": ["late"]}
            for n, (out, infeasible) in enumerate(held)
        ],
    }


@pytest.mark.parametrize(
    ("value", "doubts"),
    [
        ({}, []),
        (holds((False, False), (True, False)), []),
        (holds((False, False), planned=2), ["1 of 2 holds never fired"]),
        (holds((True, False), (True, False)), ["every hold timed out: late"]),
        (holds((True, True)), []),
        (holds((True, True), (True, False)), ["every hold timed out: late"]),
        (holds((False, True)), ["an order came about that was to be infeasible: hold 0"]),
    ],
)
def test_doubts(value: dict[str, Any], doubts: list[str]) -> None:
    assert list(evidence.hold_doubts(value)) == doubts
