"""Run directories made from the corpus: what the check says of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shootdown.errors import InfraError, UsageError
from shootdown.report import result as results
from shootdown.report import schema
from shootdown.report.result import Result
from shootdown.run import checkstage, directory, reportstage
from shootdown.run.directory import RunDir
from shootdown.run.experiment import Experiment
from shootdown.trace.schema import Kind
from shootdown.trace.text import parse
from shootdown.trace.types import Events
from shootdown.trace.writer import write

CORPUS = Path(__file__).parents[1] / "corpus"
BAD = "bad_munmap_no_remote_flush"
GOOD = "good_munmap"

AUDIT = {
    "tables_checked": 4,
    "entries_checked": 2048,
    "nonzero_checked": 9,
    "mismatches": 0,
    "unknown_tables": 0,
    "details": [],
    "inconsistencies": 0,
}
DONE = {
    "ended": "done",
    "message": "",
    "tail": "",
    "boot_s": 1.0,
    "record_s": 2.0,
    "workloads": [{"name": "munmap", "status": 0, "seconds": 1.5, "stats": {}, "notes": []}],
}

Make = Callable[..., RunDir]


def events_of(case: str) -> Events:
    text = (CORPUS / "preamble_x86_64.trace").read_text()
    return parse(text + (CORPUS / "stale-after-return" / f"{case}.trace").read_text())


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A run directory whose trace is a case of the corpus."""

    def make(
        case: str,
        *,
        guest: dict[str, Any] | None = DONE,
        audit: dict[str, Any] | None = AUDIT,
        change: Callable[[Events], Events] = lambda events: events,
        lost: int = 0,
    ) -> RunDir:
        run = directory.create(tmp_path / "run", room=0)
        directory.write_text(run.plan, Experiment("x86_64").to_toml())
        if guest is not None:
            directory.write_json(run.guest, guest)
        if audit is not None:
            directory.write_json(run.audit, audit)
        write(change(events_of(case)), run.trace, lost=lost)
        return run

    return make


def check(run: RunDir, **options: str) -> Result:
    return checkstage.check(run, lambda text: None, **options)


def test_good_run_passes(make: Make) -> None:
    run = make(GOOD)
    result = check(run)
    assert (result.exit_code, result.verdict) == (0, "pass")
    assert result.rules["stale-after-return"].exercised > 0
    assert result.events["PTE_WRITE"] > 0
    assert results.load(run.result) == result


def test_rules_are_told_for_each_workload(make: Make) -> None:
    def change(events: Events) -> Events:
        # The phase of the workload "munmap", from before the first event to behind the last.
        begin, end = (parse(f"0 MARK id={word} a=0x70616d6e756d") for word in ("BEGIN", "END"))
        begin["seq"], end["seq"] = 1, len(events) + 2
        events["seq"] += 1
        return np.concatenate([begin, events, end])

    (workload,) = check(make(GOOD, change=change)).workloads
    assert workload.rules["stale-after-return"].exercised > 0


def test_bad_run_fails_with_its_evidence(make: Make) -> None:
    run = make(BAD)
    result = check(run)
    assert result.exit_code == 1
    (violation,) = result.violations
    assert (violation.rule, violation.kind, violation.site) == (
        "stale-after-return",
        "may",
        "munmap",
    )
    assert violation.complete
    assert "page" in violation.before_text
    assert schema.problems(result.to_json()) == []
    reportstage.write(run, result)
    assert "BUG: shootdown: stale-after-return in munmap" in run.report.read_text()
    assert "not ok" in run.ktap.read_text()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"mismatches": 1}, "audit: 1 mismatches"),
        ({"unknown_tables": 2}, "2 unknown tables"),
        ({"inconsistencies": 3}, "3 events do not fit"),
        ({"nonzero_checked": 0}, "audit was not done"),
        ({"nonzero_checked": 0, "error": "no task list"}, "audit was not done: no task list"),
    ],
)
def test_audit_that_disagrees_is_never_a_pass(
    make: Make, change: dict[str, Any], reason: str
) -> None:
    result = check(make(GOOD, audit=AUDIT | change))
    assert result.exit_code == 7
    assert any(reason in text for text in result.reasons)


@pytest.mark.parametrize("change", [{"mismatches": 1}, {"unknown_tables": 1}])
def test_audit_that_disagrees_taints_violations(make: Make, change: dict[str, int]) -> None:
    result = check(make(BAD, audit=AUDIT | change))
    assert result.exit_code == 7
    assert not result.violations[0].complete


def test_missing_audit_forbids_a_pass_but_not_a_violation(make: Make, tmp_path: Path) -> None:
    assert check(make(GOOD, audit=None)).exit_code == 7
    (tmp_path / "run").rename(tmp_path / "good")
    assert check(make(BAD, audit=None)).exit_code == 1


def without(seq: int) -> Callable[[Events], Events]:
    return lambda events: events[events["seq"] != seq]


def test_gap_before_the_evidence_taints_it(make: Make) -> None:
    # The invalidation that is missing may be what was lost.
    result = check(make(BAD, change=without(3)))
    assert result.exit_code == 7
    assert result.lost == 1
    assert not result.violations[0].complete


def test_gap_behind_the_evidence_does_not(make: Make) -> None:
    def change(events: Events) -> Events:
        more = events[-1:].copy()
        more["seq"] += 2
        return np.concatenate([events, more])

    result = check(make(BAD, change=change))
    assert result.exit_code == 1
    assert result.lost == 1
    assert result.violations[0].complete


def test_claimed_loss_without_a_gap_taints_everything(make: Make) -> None:
    assert check(make(BAD, lost=1)).exit_code == 7


def test_lost_events_forbid_a_pass(make: Make) -> None:
    result = check(make(GOOD, lost=1))
    assert result.exit_code == 7
    assert "1 events lost" in result.reasons


def test_shadow_mismatch_during_the_run_taints_everything(make: Make) -> None:
    def change(events: Events) -> Events:
        more = events[-1:].copy()
        more["seq"] += 1
        more["kind"] = Kind.AUDIT_MISMATCH
        return np.concatenate([events, more])

    assert check(make(BAD, change=change)).exit_code == 7


def test_file_without_end_is_inconclusive(make: Make) -> None:
    run = make(GOOD)
    path = run.trace / "cpu0.trace"
    path.write_bytes(path.read_bytes()[: -64 * 3 - 10])
    result = check(run)
    assert result.exit_code == 7
    assert any("no end" in reason for reason in result.reasons)


def ended(how: str) -> dict[str, Any]:
    return DONE | {"ended": how, "message": f"it was a {how}"}


@pytest.mark.parametrize(
    ("guest", "good", "bad"),
    [
        (ended("crash"), 5, 1),
        (ended("timeout"), 6, 1),
        (ended("error"), 3, 3),
        (ended("interrupted"), 7, 1),
        (None, 7, 1),
        (DONE | {"workloads": [{"name": "munmap", "status": 1, "seconds": 1.0}]}, 7, 1),
        # What was exercised, was not by them: nothing was run.
        (DONE | {"workloads": [{"name": "munmap", "status": 4, "seconds": 1.0}]}, 7, 1),
        (
            DONE
            | {
                "workloads": [
                    {"name": "munmap", "status": 4, "seconds": 1.0},
                    {"name": "mremap", "status": 0, "seconds": 1.0},
                ]
            },
            0,
            1,
        ),
    ],
)
def test_how_the_guest_ended(
    make: Make, tmp_path: Path, guest: dict[str, Any] | None, good: int, bad: int
) -> None:
    assert check(make(GOOD, guest=guest)).exit_code == good
    (tmp_path / "run").rename(tmp_path / "good")
    assert check(make(BAD, guest=guest)).exit_code == bad


def test_nothing_exercised_is_no_pass(make: Make) -> None:
    result = check(make("good_mremap_in_place"))
    assert result.rules["stale-after-return"].exercised == 0
    assert result.exit_code == 7
    assert "no armed rule was exercised" in result.reasons[-1]


def test_empty_trace_is_no_pass(make: Make) -> None:
    result = check(make(GOOD, change=lambda events: events[:0]))
    assert result.exit_code == 7
    assert "empty" in result.reasons[0]


def test_no_trace_at_all_is_no_pass(make: Make) -> None:
    run = make(GOOD)
    for path in run.trace.iterdir():
        path.unlink()
    run.trace.rmdir()
    assert check(run).exit_code == 7


def test_damaged_files_are_infrastructure(make: Make) -> None:
    run = make(GOOD)
    run.guest.write_text("{")
    with pytest.raises(InfraError, match=r"guest\.json"):
        check(run)


def test_policy_can_be_changed_afterwards(make: Make) -> None:
    run = make(GOOD)
    assert check(run, policy="glisse").rules["aliased-translation"].armed
    assert not check(run).rules["aliased-translation"].armed
    with pytest.raises(UsageError, match="policy"):
        check(run, policy="morton")


def test_result_of_a_run_that_never_began(make: Make) -> None:
    run = make(GOOD)
    result = checkstage.failed(run, InfraError("the disk is full"))
    assert (result.exit_code, result.verdict) == (3, "error")
    assert results.load(run.result) == replace(result)


def test_what_was_seen_is_said(make: Make) -> None:
    run = make(GOOD)
    run.symbols.write_text("ffffffff81234000 T zap_present_ptes\nffffffff81240000 T behind\n")
    result = check(run)
    assert result.coverage["flush:invlpg"] == 2
    assert result.coverage["flush:cr3_load"] == 2  # those of the preamble
    assert result.coverage["pte write:zap_present_ptes"] == 1
    reportstage.write(run, result)
    assert "pte write:zap_present_ptes" in run.report.read_text()


def test_how_far_a_stopped_guest_ran_on(make: Make, tmp_path: Path) -> None:
    found = check(make(BAD)).violations[0].seq[-1]
    last = int(events_of(BAD)["seq"][-1])

    def later(events: Events) -> Events:
        more = parse("1 RET_USER icount=900\n0 RET_USER icount=800")
        more["seq"] = last + 1 + np.arange(2)
        return np.concatenate([events, more])

    (tmp_path / "run").rename(tmp_path / "first")
    stopped = {"rule": "stale-after-return", "summary": "", "seq": found}
    run = make(BAD, guest={**DONE, "ended": "stopped", "stopped": stopped}, change=later)
    result = check(run)
    assert result.exit_code == 1
    assert result.stopped == {"seq": found, "events": last + 2 - found, "instructions": 900}
    reportstage.write(run, result)
    assert f"ran on for {last + 2 - found} events" in run.report.read_text()


def test_stop_that_was_no_violation_is_no_pass(make: Make) -> None:
    """The complete trace has the last word."""
    stopped = {"rule": "stale-after-return", "summary": "", "seq": 3}
    result = check(make(GOOD, guest={**DONE, "ended": "stopped", "stopped": stopped}))
    assert result.exit_code == 7
    assert "stopped before its work was done" in result.reasons[0]
