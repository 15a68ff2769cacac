"""The plugin inside real guests, at the edges of what it supports."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from shootdown import arch
from shootdown.cli.main import main
from shootdown.model.locks import Move, transitions
from shootdown.trace.reader import Trace
from shootdown.trace.schema import Kind

pytestmark = pytest.mark.guest

Record = Callable[..., Trace]


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Record:
    """Record a workload and open its trace."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> Trace:
        assert main(["record", "--out", "out", *words]) == 0
        trace = Trace(tmp_path / "out" / "trace")
        assert trace.complete and not trace.lost and not trace.gaps
        return trace

    return run


@pytest.mark.parametrize("name", arch.names())
@pytest.mark.parametrize(
    "how", [("--smp", "1"), ("--smp", "8"), ("--thread", "single")], ids="".join
)
def test_lock_words_chain(record: Record, name: str, how: tuple[str, ...]) -> None:
    # QEMU reports atomics in two ways, by how it runs vCPUs and by how many there are.
    trace = record(
        *("--arch", name, "--workload", "munmap", "--iterations", "20", "--mem", "256", *how)
    )
    locks = transitions(np.sort(np.concatenate(trace.per_cpu), order="seq"))
    assert locks.breaks == 0
    counts = locks.counts()
    assert counts[Move.DOWNGRADE] >= 20
    assert counts[Move.STRANGE] == 0
    assert counts[Move.WRITE_RELEASE] + counts[Move.DOWNGRADE] == counts[Move.WRITE_ACQUIRE]


@pytest.mark.parametrize("name", arch.names())
def test_hostile_program(record: Record, tmp_path: Path, name: str) -> None:
    compiler = {"x86_64": "x86_64-linux-gnu-gcc", "arm64": "aarch64-linux-gnu-gcc"}[name]
    source, program = Path(__file__).with_name("hostile.c"), tmp_path / "hostile"
    subprocess.run([compiler, "-static", "-pthread", "-O1", "-o", program, source], check=True)
    trace = record("--arch", name, "--mem", "256", "--", str(program))
    events = np.concatenate(trace.per_cpu)
    own = events[(events["pc"] >= 0x400000) & (events["pc"] < 0x600000)]
    # Of a user program there are marks and accesses, whatever it tries.
    assert set(own["kind"].tolist()) == {Kind.MARK, Kind.OBS}
    assert np.count_nonzero(own["kind"] == Kind.MARK) >= 6000
    assert main(["check", "out"]) in (0, 7)
