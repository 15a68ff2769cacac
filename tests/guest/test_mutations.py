"""Kernels broken on purpose: the rule that is about it must fire, and only there."""

from __future__ import annotations

from typing import Any

import pytest

from shootdown.report.result import Result
from shootdown.run import checkstage

from .conftest import Record

pytestmark = pytest.mark.guest

ROUNDS = 4
PAGES = 8
ARCHES = ("x86_64", "arm64")
LATER = pytest.param("debian:7.2", marks=pytest.mark.slow, id="7.2")
KERNELS = [pytest.param("debian:6.12", id="6.12"), LATER]


def judge(recording: Record, rule: str, **what: Any) -> tuple[Result, int]:
    """The result of a run, and how often the rule was broken."""
    made = recording(**what)
    result = checkstage.check(made.run, print)
    assert result.rules[rule].armed, result.rules[rule].note
    return result, result.rules[rule].violations


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("arch", ARCHES)
def test_fork_and_pins(recording: Record, arch: str, kernel: str) -> None:
    """Each page, each time: pinned while its owner forks; data is lost when fork does not care."""
    what: dict[str, Any] = {
        "arch": arch,
        "kernel": kernel,
        "workloads": "pinned_fork",
        "iterations": ROUNDS,
    }
    what["events"] = "default,gup"
    rule = "pinned-wrprotect"
    stock, broken = judge(recording, rule, **what)
    assert (stock.exit_code, broken) == (0, 0), stock.reasons
    assert stock.rules[rule].exercised == ROUNDS * PAGES
    assert stock.workloads[0].stats["lost"] == "0"
    mutant, broken = judge(recording, rule, **what, mutate="fork-ignores-pins")
    assert mutant.exit_code == 1
    assert broken == mutant.rules[rule].exercised == ROUNDS * PAGES
    assert mutant.workloads[0].stats["lost"] == str(ROUNDS * PAGES)
    finding = next(v for v in mutant.violations if v.rule == rule)
    assert "pin_user_pages" in finding.summary
    assert finding.stack[-1] == "copy_page_range"
    (lock,) = [lock for lock in finding.locks if lock["lock"] == "mmap_lock"]
    assert (lock["how"], lock["task"]) == ("write", finding.task)


MUTANTS = [
    ("mprotect-no-vma-lock", "vma-write-unlocked", "counting", 1, "functions,vmas,vma_locks"),
    ("pte-wrong-lock", "pte-write-unlocked", "counting", 1, "functions,ptl"),
    ("contended-fault-refused", "spurious-fault", "mprotect", 20, "functions,vmas,faults"),
    ("vma-lock-unchecked", "dead-vma-install", "map_fixed", 20, "functions,vmas,vma_locks"),
    ("tables-no-grace", "table-freed-under-walker", "table_walk", 30, "default,walkers"),
    ("zap-keeps-entry", "free-before-flush", "munmap", 5, "default"),
    ("lazy-no-catch-up", "lazy-reactivation", "map_fixed", 60, "default"),
]
DELAYED = ("contended-fault-refused", "vma-lock-unchecked")
"""Mutants that a race shows: the recorder makes it likely."""
ONLY = {"tables-no-grace": "arm64", "lazy-no-catch-up": "x86_64", "zap-keeps-entry": "x86_64"}


@pytest.mark.slow
@pytest.mark.parametrize("arch", ARCHES)
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant[0])
def test_rule_fires(recording: Record, arch: str, mutant: tuple[str, str, str, int, str]) -> None:
    name, rule, workload, iterations, events = mutant
    if ONLY.get(name, arch) != arch:
        pytest.skip(f"about {ONLY[name]} only")
    what: dict[str, Any] = {"arch": arch, "workloads": workload}
    what |= {"iterations": iterations, "events": events}
    what |= {"smp": 3, "test_delay_us": 300 if name in DELAYED else 0}
    _, broken = judge(recording, rule, **what, mutate=name)
    assert broken > 0


@pytest.mark.slow
def test_flush_interrupts_are_what_x86_waits_by(recording: Record) -> None:
    """x86 of 6.x frees tables behind the interrupt of their flush: with no flush, with no wait.

    A free meets a walk once in fifty rounds."""
    what: dict[str, Any] = {
        "arch": "x86_64",
        "workloads": "table_walk",
        "iterations": 400,
        "smp": 3,
    }
    what["events"] = "default,walkers"
    rule = "table-freed-under-walker"
    stock, broken = judge(recording, rule, **what)
    assert broken == 0 < stock.rules[rule].exercised
    _, broken = judge(recording, rule, **what, mutate="no-flush")
    assert broken > 0
