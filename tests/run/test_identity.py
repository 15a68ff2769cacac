"""A guest that runs another kernel than the one whose symbols are used."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from shootdown import arch
from shootdown.errors import InfraError
from shootdown.kernel import debian
from shootdown.kernel import facts as kernel_facts
from shootdown.kernel.cache import cache_root
from shootdown.kernel.facts import KernelFacts
from shootdown.run import record
from shootdown.run.directory import RunDir
from shootdown.run.experiment import Experiment


def stock(name: str, spec: str) -> KernelFacts:
    return kernel_facts.load(debian.resolve(spec, arch.get(name), cache_root()).path, cache_root())


@pytest.mark.guest
@pytest.mark.parametrize("name", arch.names())
def test_another_kernel_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs, believed = stock(name, "debian:6.12"), stock(name, "debian:7.2")
    mixed = replace(believed, boot_path=runs.boot_path)
    monkeypatch.setattr(kernel_facts, "load", lambda *_: mixed)
    experiment = Experiment(name, workloads="munmap", iterations=1, mem=256, smp=2)
    with pytest.raises(InfraError, match=f"another kernel than {re.escape(str(believed.path))}"):
        record.record(experiment, RunDir(tmp_path), lambda _: None)
