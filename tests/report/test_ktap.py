from __future__ import annotations

from dataclasses import replace

from shootdown.report import ktap

from . import sample
from .ktap_parser import parse


def test_nested_document_parses() -> None:
    text = ktap.document([ktap.from_result(sample.PASSED), ktap.from_result(sample.FAILED)])
    good, bad = parse(text)
    assert good.ok and not bad.ok
    assert [t.name for t in good.subtests] == [
        "map_fixed",
        "counting",
        "stale-after-return",
        "aliased-translation",
        "guest",
        "trace",
        "audit",
    ]
    assert "time=3250ms" in good.subtests[0].remark


def test_rule_without_its_situation_is_skipped_never_passed() -> None:
    (arch,) = parse(ktap.document([ktap.from_result(sample.PASSED)]))
    completed, rule = arch.subtests[1].subtests
    assert completed.ok and not completed.directive
    assert (rule.directive, rule.remark) == ("SKIP", "SKIP not exercised")


def test_violation_fails_its_rule_and_its_workload() -> None:
    (arch,) = parse(ktap.document([ktap.from_result(sample.FAILED)]))
    workload = arch.subtests[0]
    assert not arch.ok and not workload.ok
    assert [t.ok for t in workload.subtests] == [True, False]


def test_crash_keeps_hash_marks_of_the_guest_out_of_results() -> None:
    (arch,) = parse(ktap.document([ktap.from_result(sample.CRASHED)]))
    guest = next(t for t in arch.subtests if t.name == "guest")
    assert not guest.ok
    assert any("Kernel panic" in line for line in guest.diagnostics)
    assert not any("#" in line[1:] for line in guest.diagnostics)


def test_lost_events_and_missing_audit_fail() -> None:
    result = replace(
        sample.PASSED, exit_code=7, lost=3, audit=replace(sample.PASSED.audit, done=False)
    )
    (arch,) = parse(ktap.document([ktap.from_result(result)]))
    outcome = {t.name: t.ok for t in arch.subtests}
    assert not outcome["trace"] and not outcome["audit"] and outcome["guest"]


def test_totals_count_the_innermost_tests() -> None:
    text = ktap.document([ktap.from_result(sample.PASSED), ktap.failed_to_run("arm64", "no QEMU")])
    assert text.splitlines()[-1] == "# Totals: pass:7 fail:0 xfail:0 xpass:0 skip:2 error:1"
    assert parse(text)[1].directive == "ERROR"
