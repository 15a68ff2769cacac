"""No record stays in the plugin's buffers when somebody reads the trace meanwhile."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from shootdown.trace.reader import Trace
from tests.plugin.conftest import REPOSITORY, compile_with


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """trace_live.c with the plugin's writer."""
    out = tmp_path_factory.mktemp("live") / "trace_live"
    here = Path(__file__).with_name("trace_live.c")
    plugin = REPOSITORY / "plugin"
    return compile_with(out, here, here.with_name("stubs.c"), plugin / "trace.c", plugin / "live.c")


@pytest.mark.parametrize(
    "what",
    [
        ("1", "3", "2", "multi"),
        ("4", "50000", "7", "multi"),
        ("2", "200000", "5000", "multi"),
        ("3", "30000", "1", "single"),
    ],
    ids="-".join,
)
def test_everything_is_written(writer: Path, tmp_path: Path, what: tuple[str, ...]) -> None:
    """vCPUs, marks of each, and after how many a vCPU goes idle."""
    subprocess.run([str(writer), str(tmp_path), *what], check=True)  # ends when all is in the files
    trace = Trace(tmp_path)
    assert trace.complete and not trace.lost and not trace.gaps
    for mine in trace.per_cpu[1:] if "single" in what else trace.per_cpu:
        assert np.array_equal(mine["a"], np.arange(int(what[1])))
