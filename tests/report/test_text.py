from __future__ import annotations

from dataclasses import replace

import pytest

from shootdown.report import text
from shootdown.report.result import Result, Violation

from . import sample


@pytest.mark.parametrize("result", [sample.PASSED, sample.FAILED, sample.CRASHED])
def test_eighty_columns_but_for_the_line_to_paste(result: Result) -> None:
    long = "shootdown run --arch x86_64 " + "-- program and many arguments" * 4
    lines = text.render(replace(result, reproduce=long)).splitlines()
    assert [line for line in lines if len(line) > 80 and line.strip() != long] == []
    assert lines[-1].strip() == long


def test_only_a_pass_is_called_one() -> None:
    assert "VERDICT: PASS (exit 0)" in text.render(sample.PASSED)
    for code in (1, 3, 5, 6, 7):
        doubtful = replace(sample.PASSED, exit_code=code, workloads=[], reasons=["x"])
        assert "PASS" not in text.render(doubtful)


def test_violation_is_a_splat_with_its_evidence() -> None:
    report = text.render(sample.FAILED)
    for part in (
        "BUG: shootdown: stale-after-return in munmap\n",
        "WITNESS: CPU 1 still used",
        "level 1: 0x8000000012345867: 4 KiB page at PA 0x12345000",
        "level 1: none",
        "unmap_page_range+0x5b8",
        "1, 2",
        "a TLB invalidation of 0x7f0000001000",
        "100, 101",
        "3 times",
    ):
        assert part in report


def test_violation_names_the_locks_and_their_holders() -> None:
    words = " ".join(text.render(sample.FAILED).split())
    assert "mmap_lock of 0xffff888004062c00 held to write by mapper/142" in words
    assert "taken on CPU 0, event 99" in words


def test_violation_says_who_stored_and_who_may_hold_the_entry() -> None:
    words = " ".join(text.render(sample.FAILED).split())
    assert "task: map_fixed[77] mapper on CPU 0" in words
    assert (
        "holder: CPU 1: observer0/78 holder: CPU 2: observer1/79, inside do_madvise > zap" in words
    )


def test_result_that_does_not_know_the_cpu() -> None:
    old = replace(sample.VIOLATION, cpu=-1, holders=[])
    words = " ".join(text.render(replace(sample.FAILED, violations=[old])).split())
    assert "task: map_fixed[77] mapper CPUs: 1, 2 before:" in words


def test_violation_says_which_invalidations_came() -> None:
    words = " ".join(text.render(sample.FAILED).split())
    assert "came: #104 CPU 0 INVLPG of 0x7f0000001000 (local) came: #107" in words
    assert "TLBI_RANGE of 0x7f0000000000 to 0x7f0000004000 in ASID 0x5 (broadcast, DSB" in words
    assert "DSB #106 before, no DSB after) came: #108 CPU 1 CR3_LOAD of everything (local)" in words
    assert "came: 4 more" in words


def test_no_invalidation_came() -> None:
    for holders, said in ((sample.VIOLATION.holders, True), ([], False)):
        violation = replace(sample.VIOLATION, came=[], came_others=0, holders=holders)
        words = " ".join(text.render(replace(sample.FAILED, violations=[violation])).split())
        assert ("came: none" in words) == said
        assert ("came:" in words) == said


def test_violation_has_its_rules_details() -> None:
    words = " ".join(text.render(sample.FAILED).split())
    assert "access: by the instruction at 0x401234 PA: 0x12345010 lock:" in words


def test_map_fixed_answer_has_every_figure() -> None:
    report = text.render(sample.PASSED)
    for part in ("2000", "p50 410, p99 2207, max 90210", "closed before return", "1900"):
        assert part in report
    rows = [line.split() for line in report.splitlines()]
    assert ["observer", "saw", "old", "new", "fault", "zero"] in rows
    assert ["observer1", "311", "9000", "12", "0"] in rows


def test_rule_never_exercised_says_never() -> None:
    result = replace(sample.PASSED, rules={"stale-after-return": sample.UNSEEN})
    assert any(
        "stale-after-return" in line and "never" in line
        for line in text.render(result).splitlines()
    )


def test_tainted_violation_says_so() -> None:
    tainted: Violation = replace(sample.VIOLATION, complete=False)
    assert "spans a loss" in text.render(replace(sample.FAILED, violations=[tainted]))
