"""The same experiment twice: everything recorded is the same, to the number of instructions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from shootdown import arch as architectures
from shootdown.errors import UsageError
from shootdown.run import deterministic, directory, record
from shootdown.run.experiment import Experiment
from shootdown.trace.digest import digest
from shootdown.trace.reader import Trace
from shootdown.trace.text import parse

MUNMAP = Experiment(
    "x86_64",
    workloads="munmap",
    iterations=3,
    smp=2,
    mem=256,
    thread="single",
    deterministic=True,
)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"thread": "multi"}, "--thread single"),
        ({"snapshot": "auto"}, "--snapshot off"),
        ({"load": "stress-ng:mremap"}, "no --load"),
    ],
)
def test_what_would_let_the_host_decide_is_refused(change: dict[str, str], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        record.validate(replace(MUNMAP, **change))  # type: ignore[arg-type]


def test_the_guest_is_started_with_its_commands(tmp_path: Path) -> None:
    assert deterministic.commands(MUNMAP) == ("run munmap 3 1",)
    (pair,) = deterministic.files(deterministic.commands(MUNMAP), tmp_path)
    assert pair[1].read_text() == "run munmap 3 1\n"
    assert deterministic.commands(replace(MUNMAP, deterministic=False)) == ()
    program = replace(MUNMAP, command=("/usr/bin/thing", "a", "b"))
    assert deterministic.commands(program) == ("exec /bin/thing a b",)


def test_a_digest_ends_with_the_last_phase() -> None:
    work = "0 MARK id=BEGIN\n0 FLUSH a=0x1000\n0 MARK id=END\n"
    assert digest(parse(work)) == digest(parse(work + "1 FLUSH a=0x2000\n"))
    assert digest(parse(work)) != digest(parse(work.replace("0x1000", "0x3000")))
    assert digest(parse(work)) != digest(parse(work.replace("FLUSH", "FLUSH icount=1")))
    assert digest(parse("0 FLUSH a=0x1000\n")) == ""


@pytest.mark.guest
@pytest.mark.parametrize("name", architectures.names())
def test_the_seed_decides(name: str, tmp_path: Path) -> None:
    def recorded(seed: int, call: str) -> str:
        run = directory.create(tmp_path / call)
        state = record.record(replace(MUNMAP, arch=name, seed=seed), run, print)
        assert state.ended == "done", state.message
        found = digest(Trace(run.trace).events())
        assert found
        return found

    first = recorded(1, "first")
    assert recorded(1, "again") == first
    assert recorded(2, "other") != first
