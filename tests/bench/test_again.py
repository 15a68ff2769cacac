"""The campaign of findings, replayed and shrunk: what it keeps, and the table of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from shootdown.bench import again
from shootdown.bench.again_trial import Cell, Row, contents, of_list
from shootdown.errors import ExitCode

CELL = Cell("nested-no-flush/madvise", "x86_64")
ROW = Row(
    *(*CELL, 1000, 1, "stale-after-return in madvise", 5, 4),
    *(4, 2, 3, 3, 9, 30.5, contents(CELL)),
)


def test_a_line_and_back() -> None:
    assert of_list(ROW.to_list()) == ROW
    with pytest.raises(TypeError):
        of_list(ROW.to_list()[1:])


def test_the_table() -> None:
    text = again.document(
        [
            *(ROW, replace(ROW, seed=2, holds=0, steps=0, same=5), replace(ROW, seed=3, holds=-1)),
            replace(ROW, seed=4, found_by=0, holds=-1, same=0, replays=0),
            replace(ROW, seed=5, contents="of another script"),
        ]
    )
    start = "| `nested-no-flush/madvise` | x86_64 | stale-after-return in madvise |"
    assert f"{start} 4 of 5 | 4 | 2, 3 steps | 3 of 3 |" in text
    assert f"{start} 5 of 5 | 4 | no hold | 3 of 3 |" in text
    assert f"{start} 4 of 5 | 4 | did not come back |  |" in text
    assert "| `nested-no-flush/madvise` | x86_64 | none |" in text
    assert "showed the finding again: 13 of 15" in text
    assert "Shrunk to two holds or fewer: 2 of 4." in text


def test_main(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["again", "--log", str(tmp_path / "log"), "--out", str(tmp_path / "table")]
    monkeypatch.setattr("sys.argv", [*words, "--table-only"])
    assert again.main() == ExitCode.PASS
    assert "| `leaf-flush/munmap` | arm64 |" in (tmp_path / "table").read_text()
