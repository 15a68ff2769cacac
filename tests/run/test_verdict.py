from __future__ import annotations

import itertools

import pytest

from shootdown.errors import ExitCode
from shootdown.run.verdict import ALL_SKIPPED, NOTHING_CHECKED, Evidence, decide, inapplicable


@pytest.mark.parametrize(
    ("evidence", "code"),
    [
        (Evidence(exercised=1), 0),
        (Evidence(), 7),
        (Evidence(violations=1), 1),
        (Evidence(violations=1, crash="c", timeout="t", doubts=["d"]), 1),
        (Evidence(infra="i", violations=1, crash="c"), 3),
        (Evidence(crash="c", timeout="t", doubts=["d"], exercised=1), 5),
        (Evidence(timeout="t", doubts=["d"], exercised=1), 6),
        (Evidence(doubts=["3 events lost"], exercised=1), 7),
        (Evidence(tainted=1, exercised=1), 7),
        (Evidence(tainted=1, crash="c", exercised=1), 5),
    ],
)
def test_precedence(evidence: Evidence, code: int) -> None:
    assert decide(evidence).code == code


def test_pass_needs_everything() -> None:
    for infra, violations, tainted, crash, timeout, doubts, exercised in itertools.product(
        ("", "i"), (0, 1), (0, 1), ("", "c"), ("", "t"), ((), ("d",)), (0, 1)
    ):
        evidence = Evidence(infra, violations, tainted, crash, timeout, doubts, exercised)
        clean = exercised and not (infra or violations or tainted or crash or timeout or doubts)
        assert (decide(evidence).code == ExitCode.PASS) == bool(clean)


def test_no_reason_is_dropped() -> None:
    reasons = decide(Evidence("i", 2, 1, "c", "t", ["d"], 1)).reasons
    assert reasons[0] == "i"
    assert {"c", "t", "d", "2 violations"} <= set(reasons)


def test_what_only_lacks_its_subject() -> None:
    for evidence in (Evidence(), Evidence(doubts=[ALL_SKIPPED], exercised=1)):
        verdict = decide(evidence)
        assert verdict.code == ExitCode.INCONCLUSIVE
        assert inapplicable(verdict.code, verdict.reasons)
    for evidence in (Evidence(doubts=["3 events lost"]), Evidence(tainted=1), Evidence(crash="c")):
        verdict = decide(evidence)
        assert not inapplicable(verdict.code, verdict.reasons)
    assert not inapplicable(ExitCode.PASS, [NOTHING_CHECKED])
