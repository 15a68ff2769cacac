"""Trials from a snapshot: recorded from the first instruction, each like the other."""

from __future__ import annotations

import asyncio
import re
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shootdown.cli.main import main
from shootdown.errors import InfraError
from shootdown.kernel.cache import cache_root, sha256
from shootdown.run import directory, trial
from shootdown.run.experiment import Experiment
from shootdown.run.prepared import Prepared
from shootdown.trace.reader import Trace
from shootdown.trace.schema import Kind, Probe, RootReg, Watch
from shootdown.trace.types import Events
from shootdown.vm import snapshot

pytestmark = pytest.mark.guest

SMP = 2
BEFORE = (Kind.ROOT_LEARN, Kind.TABLE_LINK, Kind.TABLE_SLOT, Kind.ROOT_LOAD)


@pytest.fixture(scope="module", params=["x86_64", "arm64"])
def shared(request: pytest.FixtureRequest) -> Iterator[Prepared]:
    """A snapshot that no test has made before: the kernel is told a word of our own."""
    experiment = Experiment(
        arch=request.param,
        workloads="munmap",
        iterations=5,
        smp=SMP,
        snapshot="auto",
        append=f"snapshot_test.{uuid.uuid4().hex}=1",
    )
    with trial.prepared(experiment, print) as prepared:
        assert prepared.snapshot is not None
        yield prepared
        shutil.rmtree(prepared.snapshot.entry)
        prepared.snapshot.entry.with_name(f"{prepared.snapshot.entry.name}.lock").unlink()


def run(shared: Prepared, path: Path, *more: str) -> tuple[int, dict[str, Any]]:
    """`shootdown run` of the experiment."""
    line = shared.experiment.command_line().removeprefix("shootdown ").split()
    code = main([*line, *more, "--out", str(path)])
    result = directory.read_json(path / "result.json")
    assert directory.read_json(path / "command.json")["snapshot"] == name(shared)
    audit = result["audit"]
    assert audit["tables_checked"] > 50
    assert (audit["mismatches"], audit["unknown_tables"], result["lost"]) == (0, 0, 0)
    return code, result


def name(shared: Prepared) -> str:
    assert shared.snapshot is not None
    return shared.snapshot.entry.name


def beginning(events: Events) -> Events:
    """What was there when recording began."""
    armed = int(np.flatnonzero(events["kind"] == Kind.ARMED)[0])
    return events[:armed]


def tables(events: Events) -> set[tuple[int, ...]]:
    kept = events[events["kind"] == Kind.TABLE_SLOT][["a", "c", "d", "level"]]
    return set(kept.tolist())


def test_trials_are_alike_and_apart(shared: Prepared, tmp_path: Path) -> None:
    """A kernel without its flush, the same kernel with it, and the same again."""
    assert shared.snapshot is not None
    saved = sha256(shared.snapshot.state)
    code, result = run(shared, tmp_path / "mutant", "--mutate", "no-flush")
    assert (code, result["verdict"]) == (1, "fail")
    assert result["rules"]["stale-after-return"]["violations"] > 0
    for number in ("first", "second"):
        code, result = run(shared, tmp_path / number)
        assert (code, result["verdict"]) == (0, "pass")
        assert result["rules"]["stale-after-return"]["exercised"] > 0
    code, _ = run(shared, tmp_path / "single", "--thread", "single", "--seed", "2")
    assert code == 0
    assert sha256(shared.snapshot.state) == saved

    first, *others = (
        tables(beginning(Trace(tmp_path / each / "trace").events()))
        for each in ("first", "second", "single", "mutant")
    )
    assert len(first) > 1000
    assert all(other == first for other in others)
    assert b"[shootdown: saved here, and restored]" in (tmp_path / "first/console.log").read_bytes()


def test_nothing_comes_before_what_was_there(shared: Prepared, tmp_path: Path) -> None:
    code, _ = run(shared, tmp_path / "run")
    assert code == 0
    events = Trace(tmp_path / "run" / "trace").events()
    start = beginning(events)
    assert np.isin(start["kind"], BEFORE).all()
    loads = start[start["kind"] == Kind.ROOT_LOAD]
    # The ASID first: tables that are loaded under another one might be taken to be cached there.
    order = [RootReg.TTBR1, RootReg.TTBR0] if shared.arch.name == "arm64" else [RootReg.CR3]
    for cpu in range(SMP):
        assert loads[loads["cpu"] == cpu]["id"].tolist() == order
    assert shared.snapshot is not None
    mms = shared.snapshot.mms
    assert len(mms) == 1  # the agent is the only process
    watched = events[events["kind"] == Kind.WATCH_INIT]
    locks = watched[watched["id"] == Watch.MMAP_LOCK]["d"].tolist()
    assert set(mms) <= set(locks)
    # Whoever runs first comes from the idle task, and the agent is the first to leave the kernel.
    user = events[events["kind"] == Kind.RET_USER][0]
    switches = events[(events["kind"] == Kind.PROBE) & (events["id"] == Probe.TASK_SWITCH)]
    into = switches[(switches["seq"] < user["seq"]) & (switches["cpu"] == user["cpu"])]
    assert len(into) and int(into[-1]["d"]) in mms


def start(one: Prepared) -> None:
    async def restore() -> None:
        async with trial.ready_guest(one) as guest:
            await guest.guard(guest.agent.list(), 60, "answer")

    asyncio.run(restore())


def test_the_plan_of_another_snapshot(shared: Prepared, tmp_path: Path) -> None:
    one = trial.in_run(shared, directory.create(tmp_path / "run"))
    plan = tmp_path / "run" / "plugin.plan"
    wrong, count = re.subn(r"^(vcpu .* )0x.*$", r"\g<1>0x1000", plan.read_text(), flags=re.M)
    assert count >= SMP
    plan.write_text(wrong)
    with pytest.raises(InfraError, match="the plan is for another snapshot"):
        start(one)


def test_a_state_that_cannot_be_loaded(shared: Prepared, tmp_path: Path) -> None:
    assert shared.snapshot is not None
    entry = tmp_path / "damaged"
    entry.mkdir()
    (entry / snapshot.CONSOLE).write_bytes(b"")
    (entry / snapshot.STATE).write_bytes(bytes(4096))
    damaged = replace(shared, snapshot=replace(shared.snapshot, entry=entry))
    with pytest.raises(InfraError, match=r"cannot be restored .* it was removed, run again"):
        start(trial.in_run(damaged, directory.create(tmp_path / "run")))
    assert not entry.exists()


def test_it_is_found_again(shared: Prepared) -> None:
    found = snapshot.find(snapshot.root(cache_root()), name(shared))
    assert found == shared.snapshot
