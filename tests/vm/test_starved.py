"""Time that a host does not give."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shootdown.vm import starved


def test_the_longest_wait_counts() -> None:
    assert starved.since({"1": 1.0, "2": 5.0, "3": 2.0}, {"1": 1.5, "2": 5.25, "4": 9.0}) == 0.5
    assert starved.since({}, {"1": 1.0}) == 0.0


def test_threads_that_are_no_vcpus_do_not_count() -> None:
    assert starved.waits(os.getpid()) == {}
    assert starved.waits(1 << 30) == {}


def test_a_thread_that_is_called_a_vcpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starved, "_VCPU", Path("/proc/self/comm").read_text().strip()[:5])
    (seconds,) = [starved.waits(os.getpid())[str(os.getpid())]]
    told = int(Path("/proc/self/schedstat").read_text().split()[1])
    assert 0 <= seconds <= told * 1e-9
