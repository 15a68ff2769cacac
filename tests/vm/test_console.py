from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from shootdown.vm.console import FULL, TAIL_LINES, CappedLog, Console


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    log = CappedLog(tmp_path / "log")
    yield Console(log)
    log.close()


def test_tail_is_the_last_lines_and_the_unfinished_one(console: Console) -> None:
    console.feed(b"".join(b"line %d\r\n" % i for i in range(100)) + b"unfini")
    console.feed(b"shed")
    lines = console.tail.splitlines()
    assert lines == [f"line {i}" for i in range(100 - TAIL_LINES, 100)] + ["unfinished"]


def test_control_characters_do_not_reach_the_terminal(console: Console) -> None:
    console.feed(b"\x1b[31mred\x07 \xff\n")
    assert console.tail == "?[31mred? \N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    "line",
    [
        "[    1.4] Kernel panic - not syncing: Attempted to kill init!",
        "[    1.4] BUG: unable to handle page fault for address: ffffc90000000000",
        "[    1.4] BUG: Bad page state in process a  pfn:1234",
        "[    1.4] Oops: Oops: 0002 [#1] PREEMPT SMP",
        "[    1.4] Internal error: Oops: 0000000096000004 [#1] SMP",
    ],
)
def test_splats_are_recognised(console: Console, line: str) -> None:
    console.feed(line.encode() + b"\nharmless\n")
    assert console.splats == [line]
    assert console.panicked == ("panic" in line)


@pytest.mark.parametrize(
    "line",
    ["[    1.4] Booting", "[    1.4] watchdog: BUG: soft lockup - CPU#0 stuck for 26s!"],
)
def test_other_lines_are_no_splats(console: Console, line: str) -> None:
    console.feed(line.encode() + b"\n")
    assert not console.splats


def test_flood_is_cut_off_and_counted(tmp_path: Path) -> None:
    log = CappedLog(tmp_path / "log", limit=10)
    for _ in range(5):
        log.write(b"abc")
    log.close()
    assert (tmp_path / "log").read_bytes() == b"abcabcabca" + FULL
    assert log.dropped == 5
    assert log.error is None


def test_endless_line_takes_no_memory(console: Console) -> None:
    for _ in range(100):
        console.feed(b"x" * 100_000)
    assert len(console.tail) < 10_000


def test_full_disk_is_kept_as_an_error_and_stops_nobody() -> None:
    log = CappedLog(Path("/dev/full"))
    log.write(b"abc")
    log.write(b"abc")
    log.close()
    assert "/dev/full cannot be written: No space left on device" in str(log.error)
