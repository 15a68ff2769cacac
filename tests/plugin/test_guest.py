"""The plugin inside real guests, at the edges of what it supports."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from shootdown import arch
from shootdown.cli.main import main
from shootdown.model.locks import Move, transitions
from shootdown.trace.reader import Trace

pytestmark = pytest.mark.guest

Record = Callable[..., Trace]


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Record:
    """Record a workload and open its trace."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> Trace:
        assert main(["record", "--iterations", "20", "--out", "out", *words]) == 0
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
    trace = record("--arch", name, "--workload", "munmap", "--mem", "256", *how)
    locks = transitions(np.sort(np.concatenate(trace.per_cpu), order="seq"))
    assert locks.breaks == 0
    counts = locks.counts()
    assert counts[Move.DOWNGRADE] >= 20
    assert counts[Move.STRANGE] == 0
    assert counts[Move.WRITE_RELEASE] + counts[Move.DOWNGRADE] == counts[Move.WRITE_ACQUIRE]
