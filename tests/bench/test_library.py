"""The campaign of the library on stock kernels: what is right, and the table of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from shootdown.bench import library, library_table
from shootdown.bench.library_trial import Cell, Row, cells, contents, of_list
from shootdown.errors import ExitCode
from shootdown.race import find
from shootdown.run.verdict import ALL_SKIPPED

CELL = Cell("touch::found_then_unmapped", "debian:6.12", "arm64")
FOUND = Cell("drop_move::dontunmap", "debian:7.2", "x86_64")
LOSES = Cell("direct::fork_during_read", "debian:6.1", "x86_64")


def row(cell: Cell = CELL, code: int = ExitCode.PASS, **others: object) -> Row:
    plain = Row(*cell, 1, code, 2, 2, 0, 0, "", 0, "", 1.5, "6.12.1", contents(cell))
    return replace(plain, **others)  # type: ignore[arg-type]


def test_every_race_meets_every_kernel_it_is_for() -> None:
    every = list(cells())
    assert len(every) == len(set(every))
    for race in find.library():
        for arch in race.arch:
            assert Cell(race.call, "debian:6.12", arch) in every
            assert Cell(race.call, "debian:7.2", arch) in every
    assert LOSES in every


def test_what_is_expected_is_of_a_cell() -> None:
    for one in library_table.EXPECTED:
        for arch in one.arch:
            assert Cell(one.race, one.kernel, arch) in set(cells())


@pytest.mark.parametrize(
    ("one", "right"),
    [
        (row(), True),
        (row(fired=1), False),
        (row(lost=1), False),
        (row(code=ExitCode.VIOLATION, rules="stale-after-return"), False),
        (row(code=ExitCode.INCONCLUSIVE), False),
        (row(FOUND, ExitCode.VIOLATION, rules="stale-after-return"), True),
        (row(FOUND, ExitCode.VIOLATION, rules="free-before-flush,stale-after-return"), False),
        (row(FOUND), False),
        (row(LOSES, ExitCode.INCONCLUSIVE, lost=1), True),
        (row(LOSES, ExitCode.PASS), False),
        (row(LOSES, ExitCode.INCONCLUSIVE, lost=1, fired=1), False),
    ],
)
def test_a_trial_is_right_when_it_ends_as_it_has_to(one: Row, right: bool) -> None:
    assert library_table.right(one) is right
    assert of_list(one.to_list()) == one


def test_the_table() -> None:
    rows = [
        *(row(seed=1), row(seed=2, code=7, fired=1, reason="1 of 2 holds never fired")),
        row(seed=3, contents="of another plan"),
        row(FOUND, ExitCode.VIOLATION, rules="stale-after-return"),
        row(Cell("drop_move::guard", "debian:6.12", "x86_64"), ExitCode.USAGE, reason="no guards"),
        row(Cell("drop_move::mremap", "debian:6.12", "x86_64"), 7, fired=0, reason=ALL_SKIPPED),
        row(Cell("pageout::munmap_overtakes_reclaim", "debian:6.12", "arm64"), infeasible=1),
    ]
    text = library_table.document(rows)
    assert "| `touch::found_then_unmapped` |  |  | 1 of 2 |" in text
    assert "1 of 1, finding" in text
    assert "1 of 1, infeasible" in text
    assert "* `touch::found_then_unmapped` on debian:6.12 arm64: exit 7, 1 of 2 holds" in text
    assert "* `drop_move::guard` on debian:6.12 x86_64: exit 2, skipped: no guards" in text
    assert f"* `drop_move::mremap` on debian:6.12 x86_64: exit 7, skipped: {ALL_SKIPPED}" in text
    assert "4 trials that were not skipped, of 6.12.1." in text


def test_main(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["library", "--log", str(tmp_path / "log"), "--out", str(tmp_path / "table")]
    monkeypatch.setattr("sys.argv", [*words, "--table-only"])
    assert library.main() == ExitCode.PASS
    assert "Nothing." in (tmp_path / "table").read_text()
    monkeypatch.setattr("sys.argv", [*words, "--race", "tuch::*"])
    assert library.main() == ExitCode.USAGE
    assert "tuch::*" in capsys.readouterr().err
