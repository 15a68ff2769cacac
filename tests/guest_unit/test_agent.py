"""The agent's protocol, and that no line kills it."""

import os
from pathlib import Path

import pytest

from tests.guest_unit.conftest import GUEST, Agent


def test_greets(agent: Agent):
    assert agent.ready == f"ready x86_64 {os.uname().release}"


def test_lists_every_workload_file(agent: Agent):
    answer = agent.ask("list")
    listed = [line.split(maxsplit=2) for line in answer[:-1]]
    assert answer[-1] == "end"
    assert all(word == "workload" and headline for word, _, headline in listed)
    names = [name for _, name, _ in listed]
    assert names == sorted(path.stem for path in (GUEST / "workloads").glob("*.c"))


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("", "line is empty"),
        ("   ", "line is empty"),
        ("dance", "`dance` is not a command"),
        ("run", "needs NAME ITERATIONS SEED"),
        ("run map_fixed 1", "needs NAME ITERATIONS SEED"),
        ("run nothing 1 1", "no workload is called `nothing`"),
        ("run map_fixed 0 1", "ITERATIONS is a number"),
        ("run map_fixed -1 1", "ITERATIONS is a number"),
        ("run map_fixed 1x 1", "ITERATIONS is a number"),
        ("run map_fixed 99999999999999999999 1", "ITERATIONS is a number"),
        ("run map_fixed 1 99999999999999999999", "SEED is a number"),
        ("run map_fixed 1 1 pages", "is not KEY=VALUE"),
        ("run map_fixed 1 1 pages=", "pages is a number from 1 to 256"),
        ("run map_fixed 1 1 pages=257", "pages is a number from 1 to 256"),
        ("run map_fixed 1 1 colour=1", "map_fixed has no option `colour`"),
        ("run counting 1 1 pages=1", "counting has no option `pages`"),
        ("exec", "needs PATH"),
        ("load", "needs NAME PATH"),
        ("load name", "needs NAME PATH"),
        ("show", "needs PATH"),
        ("show /etc/passwd many", "needs PATH"),
        ("show /nonexistent", "No such file"),
        ("x" * 5000, "at most 4095 bytes"),
        ("exec " + "x " * 100, "at most 64 words"),
        (b"\xff\x00\x01\x80", "is not a command"),
        (b"run map_fixed \x1b[2J 1", "ITERATIONS is a number"),
    ],
)
def test_a_bad_line_is_answered_and_survived(agent: Agent, line: str | bytes, answer: str):
    (error,) = agent.ask(line)
    assert error.startswith("error ")
    assert answer in error
    assert error.isprintable()
    assert agent.ask("list")[-1] == "end"


def test_carriage_returns_are_tolerated(agent: Agent):
    assert agent.ask("list\r")[-1] == "end"


def test_exit_status_of_programs(agent: Agent, guest_build: Path):
    init = guest_build / "x86_64" / "init"
    assert agent.ask(f"exec {init} exit 0") == ["start exec", "done exec 0"]
    assert agent.ask(f"exec {init} exit 255") == ["start exec", "done exec 255"]
    assert agent.ask(f"exec {init} signal 9") == ["start exec", "done exec 137"]
    assert agent.ask(f"exec {init} signal 11") == ["start exec", "done exec 139"]
    assert agent.ask(f"exec {init} no such helper") == ["start exec", "done exec 2"]


def test_what_is_no_program_is_told_apart(agent: Agent, tmp_path: Path):
    script = tmp_path / "text"
    script.write_text("not a program\n")
    script.chmod(0o755)
    for path, reason in (
        (script, "Exec format error"),
        (tmp_path / "missing", "No such file or directory"),
        ("/etc/passwd", "Permission denied"),
    ):
        assert agent.ask(f"exec {path}") == ["start exec", f"error exec: {path}: {reason}"]
    assert agent.ask("list")[-1] == "end"


def test_programs_do_not_need_the_channel(agent: Agent, guest_build: Path):
    """A job asked for by hand, with nonsense, ends by itself."""
    init = guest_build / "x86_64" / "init"
    assert agent.ask(f"exec {init} job map_fixed 0 1")[-1] == "done exec 2"


def test_quit_says_bye_and_ends(agent: Agent):
    assert agent.ask("quit") == ["bye"]
    assert agent.process.wait(60) == 0


def test_a_load_is_an_exec_by_another_name(agent: Agent):
    assert agent.ask("load tlb-shootdown /bin/sh -c exit\t7")[0] == "start tlb-shootdown"
    assert agent.ask("load five /bin/false") == ["start five", "done five 1"]
    answer = agent.ask("load none /nonexistent")
    assert answer == ["start none", "error none: /nonexistent: No such file or directory"]


def test_shows_a_file_line_by_line(agent: Agent, tmp_path: Path):
    text = tmp_path / "text"
    text.write_text("metrics:\n    - stressor: \x1b[2Jnuma\n\nend\nlast")
    assert agent.ask(f"show {text}") == [
        *("line metrics:", "line     - stressor: ?[2Jnuma", "line ", "line end", "line last"),
        "end",
    ]


def test_shows_no_more_than_the_host_can_take(agent: Agent, tmp_path: Path):
    text = tmp_path / "text"
    text.write_text("x" * 3000 + "\n" + "y\n" * 5000)
    shown = agent.ask(f"show {text}")
    assert len(shown) == 501
    assert agent.ask(f"show {text} 2") == ["line " + "x" * 511, "line " + "x" * 511, "end"]
    assert len(agent.ask(f"show {text} 4000")) == 4001
    assert max(map(len, shown)) <= 5 + 511
    assert agent.ask("list")[-1] == "end"
