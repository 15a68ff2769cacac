"""Opening a recording: what may be named, what is loaded when, and what is said otherwise."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shootdown import Trace
from shootdown.errors import ExitCode, InconclusiveError, InfraError, ShootdownError, UsageError
from shootdown.frames import document
from shootdown.frames.recording import ALL
from shootdown.kernel.symbols import SymbolTable
from shootdown.trace.schema import DTYPE, Kind
from shootdown.trace.text import parse
from shootdown.trace.writer import write

TEXT = """
0 ARMED
0 PTE_WRITE a=0x2008 b=0x67 c=0 d=0x401000 level=1 pc=0xffffffff81000010
1 PTE_WRITE a=0x2008 c=0x67 d=0x401000 level=1 pc=0xffffffff81000010
1 PTE_WRITE a=0x2008 b=0x67 d=0x401000 level=1 pc=0x1000
0 FLUSH id=INVLPG a=0x401000 b=0x402000
"""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    write(parse(TEXT), tmp_path / "run/trace")
    return tmp_path / "run"


def test_a_run_directory_and_its_trace_are_the_same(run: Path) -> None:
    frames = [Trace(path).ptes for path in (run, run / "trace", str(run))]
    assert len(frames[0]) == 3
    for frame in frames[1:]:
        pd.testing.assert_frame_equal(frame, frames[0])


def test_a_frame_is_made_once_and_only_when_asked_for(run: Path) -> None:
    trace = Trace(run)
    assert not set(ALL) & set(vars(trace))
    assert trace.ptes is trace.ptes
    assert set(ALL) & set(vars(trace)) == {"ptes"}
    assert not trace.reader.per_cpu[0].flags.owndata


def test_every_table_is_an_attribute_that_is_known_beforehand(run: Path) -> None:
    trace = Trace(run)
    assert set(ALL) == set(trace.tables) == set(Trace.__annotations__)
    assert set(ALL) < set(dir(trace))
    assert repr(trace).startswith("<shootdown.Trace: 5 events of 2 vCPUs; asids, barriers, ")


@pytest.mark.parametrize(
    ("name", "meant"), [("pte", "did you mean 'ptes'? "), ("lock", "did you mean 'locks'? ")]
)
def test_an_unknown_table(run: Path, name: str, meant: str) -> None:
    with pytest.raises(AttributeError) as error:
        getattr(Trace(run), name)
    assert str(error.value).startswith(
        f"a trace has no '{name}': {meant}its tables are asids, barriers, "
    )


def test_directories_without_a_recording(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no directory"):
        Trace(tmp_path / "absent")
    with pytest.raises(UsageError, match="is no recording: name a run directory"):
        Trace(tmp_path)
    (tmp_path / "plan.toml").touch()
    with pytest.raises(UsageError, match="holds no trace: its recording never began"):
        Trace(tmp_path)
    (tmp_path / "trace").mkdir()
    with pytest.raises(InconclusiveError, match="recording never began"):
        Trace(tmp_path)


def test_functions_are_named(run: Path) -> None:
    trace = Trace(run)
    vas = np.array([0xFFFFFFFF81000000, 0xFFFFFFFF81001000], np.uint64)
    trace.symbols = SymbolTable(["set_pte", "other"], vas)
    ptes = trace.ptes[1:]
    functions = trace.function(ptes["pc"])
    assert functions.tolist() == ["set_pte", ""]
    assert functions.index.tolist() == [1, 2]
    assert trace.function(ptes["pc"][:0]).empty


@pytest.mark.parametrize("command", [None, "{}", '{"kernel": {"image": "/nowhere/vmlinuz"}}', "["])
@pytest.mark.parametrize("below", [".", "trace"])
def test_a_kernel_that_is_gone(run: Path, command: str | None, below: str) -> None:
    if command is not None:
        (run / "command.json").write_text(command)
    trace = Trace(run / below)
    with pytest.raises(InfraError, match="cannot be read"):
        trace.function(trace.ptes["pc"])


def test_the_tables_as_parquet(run: Path, tmp_path: Path) -> None:
    trace = Trace(run)
    out = tmp_path / "a/b"
    files = trace.to_parquet(out)
    assert files == [out / f"{name}.parquet" for name in ALL] == sorted(out.iterdir())
    assert not set(ALL) & set(vars(trace))
    for name in ("ptes", "flushes", "barriers"):
        back = pd.read_parquet(out / f"{name}.parquet", engine="pyarrow")
        pd.testing.assert_frame_equal(back, getattr(trace, name), check_categorical=False)


def test_parquet_needs_pyarrow(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    for name in [name for name in sys.modules if name.partition(".")[0] == "pyarrow"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path_importer_cache", {})
    with pytest.raises(UsageError, match=re.escape("run `pip install pyarrow`")):
        Trace(run).to_parquet(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_parquet_that_cannot_be_written(run: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InfraError, match=r"cannot write .*file.*name another directory"):
        Trace(run).to_parquet(tmp_path / "file")


def test_the_document_follows_the_tables() -> None:
    assert document.main(["--check"]) == 0


def test_a_document_that_drifted_is_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(document, "ROOT", tmp_path)
    assert document.main([]) == ExitCode.INFRA
    assert "is not a source tree" in capsys.readouterr().err
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "docs").mkdir()
    assert document.main(["--check"]) == ExitCode.INFRA
    assert "differs from the tables" in capsys.readouterr().err
    assert document.main([]) == document.main(["--check"]) == 0
    assert (tmp_path / document.PATH).read_text(encoding="utf-8") == document.text()


def test_every_column_is_documented() -> None:
    text = document.text()
    for table in ALL.values():
        section = text.split(f"## `{table.name}`")[1].partition("\n## ")[0]
        rows = re.findall(r"^\| `(\w+)` \| (\w+) \| ([\w ]*) \| (.+) \|$", section, re.M)
        documented = [(name, dtype, unit, what) for name, dtype, unit, what in rows]
        assert documented == [(c.name, c.dtype, c.unit, c.text) for c in table.own]
        assert all(c.unit or c.dtype in ("bool", "category") for c in table.own)


@given(data=st.data())
def test_no_event_gives_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    kinds = [kind for kind in Kind if kind not in (Kind.COUNT, Kind.TRAILER)]
    word = st.integers(0, 2**64 - 1)
    small = st.integers(0, 7)
    events = np.zeros(data.draw(st.integers(1, 8)), DTYPE)
    for at in range(len(events)):
        values = data.draw(st.tuples(word, word, word, word, st.sampled_from(kinds), small, small))
        events[at] = (at + 1, at, 0, *values[:5], values[5], 0, values[6], 8, 255)
    trace = Trace(write(events, tmp_path_factory.mktemp("trace")))
    try:
        for name in trace.tables:
            getattr(trace, name)
    except ShootdownError:
        pass


def test_numbers_of_a_command_are_no_kernel(run: Path) -> None:
    (run / "command.json").write_text(json.dumps({"kernel": {"files": [7], "image": 8}}))
    with pytest.raises(InfraError):
        _ = Trace(run).symbols
