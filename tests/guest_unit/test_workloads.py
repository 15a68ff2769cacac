"""The workloads on this machine's own kernel, which has no bug that they could show."""

import os
import signal

import pytest

from tests.guest_unit.conftest import Agent

READERS = ("map_fixed", "munmap", "mremap", "madvise")
RACES = (*READERS, "mprotect", "fork_cow")


@pytest.mark.parametrize("name", RACES)
def test_a_correct_kernel_shows_nothing_impossible(agent: Agent, name: str):
    stats = agent.stats(f"run {name} 50 1")
    assert stats["iterations"] == 50
    assert stats["foreign"] == stats["lost"] == stats["stale_after_return"] == 0
    for key in ("loads", "stores", "faults", "old", "new", "zero"):
        assert stats[key] == sum(stats[f"observer{each}.{key}"] for each in range(2))


@pytest.mark.parametrize("name", READERS)
def test_readers_see_both_generations(agent: Agent, name: str):
    stats = agent.stats(f"run {name} 100 2")
    assert stats["old"] > 0
    assert stats["new"] > 0
    assert stats["loads"] == sum(stats[kind] for kind in ("zero", "old", "new"))


def test_writers_meet_read_only_pages(agent: Agent):
    stats = agent.stats("run mprotect 100 1")
    assert stats["stores"] > 0
    assert stats["faults"] > 0
    assert stats["changed_while_readonly"] == 0


def test_children_keep_their_snapshot(agent: Agent):
    stats = agent.stats("run fork_cow 50 1")
    assert stats["stores"] > 0
    assert stats["changed_after_fork"] == 0


@pytest.mark.skipif(os.cpu_count() == 1, reason="needs two CPUs")
@pytest.mark.parametrize("name", RACES)
def test_observers_hold_translations_before_they_change(agent: Agent, name: str):
    assert agent.stats(f"run {name} 50 3")["exercised"] > 0


@pytest.mark.parametrize("name", RACES)
def test_options_reach_the_workload(agent: Agent, name: str):
    stats = agent.stats(f"run {name} 5 1 pages=1 observers=3")
    assert "observer2.loads" in stats
    agent.stats(f"run {name} 5 1 pages=256 observers=1")


def test_counting_counts_the_same_twice(agent: Agent):
    stats = agent.stats("run counting 3 1")
    assert stats["unstable"] == 0
    assert stats["touch.faults"] == stats["touch.present_after"] == stats["touch.pages"] == 64
    assert stats["map_fixed.present_before"] == 64
    assert stats["map_fixed.present_after"] == 0
    assert stats["dontneed.present_before"] - stats["dontneed.present_after"] == 32
    assert (stats["mremap.present_after"], stats["mremap.target_present"]) == (0, 16)
    assert stats["break_cow.faults"] == 64
    assert stats["munmap.present_before"] == 48
    for phase in (
        "mmap",
        "mprotect_ro",
        "mprotect_rw",
        "map_fixed",
        "dontneed",
        "mremap",
        "munmap",
    ):
        assert stats[f"{phase}.faults"] == 0, f"a stray fault fell into {phase}"


def test_churn_leaves_a_holder_with_tables(agent: Agent):
    stats = agent.stats("run churn 1 1 tables=20")
    holder = stats["hold_pid"]
    try:
        assert stats["hold_tables"] >= 20
        assert stats["hold_entries"] == 20 * 40
        os.kill(holder, 0)  # raises when it is gone
    finally:
        os.kill(holder, signal.SIGKILL)
    assert "hold_pid" not in agent.stats("run churn 1 1 tables=0")


@pytest.mark.parametrize("memory", [0, 1])
@pytest.mark.parametrize("op", range(8))
def test_a_fault_that_a_change_of_its_vma_meets(agent: Agent, op: int, memory: int):
    stats = agent.stats(f"run touch 20 1 op={op} memory={memory}")
    assert stats["iterations"] == 20
    assert stats["spurious"] == stats["lost"] == 0


@pytest.mark.parametrize("by", [0, 1])
def test_pages_dropped_and_moved(agent: Agent, by: int):
    stats = agent.stats(f"run drop_move 20 1 by={by}")
    assert stats["foreign"] == stats["lost"] == 0


@pytest.mark.parametrize("options", ["", "tables=1", "stranger=1"])
def test_pages_taken_from_a_sleeper(agent: Agent, options: str):
    assert agent.stats(f"run lazy 10 1 {options}")["iterations"] == 10


@pytest.mark.parametrize("name", ["direct", "touch"])
def test_without_a_disk_there_is_nothing_to_do(agent: Agent, name: str):
    answer = agent.ask(f"run {name} 1 1" + (" memory=2" if name == "touch" else ""))
    assert answer[-1] == f"done {name} 4"
    assert f"note {name}: there is no disk for workloads; run with --disk" in answer
