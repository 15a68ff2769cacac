"""The notebook's code runs on a fresh recording and finds what it speaks of."""

from __future__ import annotations

from typing import Any

import pytest

from tests import notebook
from tests.guest.conftest import Record


@pytest.mark.guest
def test_the_notebook_still_runs(recording: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    made = recording(arch="x86_64", workloads="map_fixed", iterations=50, smp=3)
    monkeypatch.setenv("SHOOTDOWN_RUN", str(made.run.path))
    names: dict[str, Any] = {}
    for number, source in enumerate(notebook.sources(), 1):
        exec(compile(source, f"<{notebook.PATH.name} cell {number}>", "exec"), names)
    ptes, windows, held = names["ptes"], names["windows"], names["held"]
    assert "unmap_page_range" in set(ptes["function"])
    assert set(windows["on"]) == {"own CPU", "other CPU"}
    assert (windows["length"] > 0).all()
    assert (held["length"] > 0).all()
    assert "mapper" in set(held["comm"])
    assert {"observer0", "observer1"} <= set(names["changes"]["comm"])
