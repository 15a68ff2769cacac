"""Who holds an mmap_lock to write, at records of the holder's own."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from shootdown.model.mmap_writers import Writers, holders
from shootdown.model.running import Running
from shootdown.trace.text import parse

MM = 0xAA0000
INIT = "0 WATCH_INIT id=MMAP_LOCK a=0xa8 c={} d=0xaa0000\n"
WORD = "{} WATCH id=MMAP_LOCK a=0xa8 b={} c={} d=0xaa0000\n"
TAKES, LEAVES = WORD.format(1, 0, 1), WORD.format(1, 1, 0)


def held_by(writers: Writers, holder: int, seqs: Iterable[int]) -> list[bool]:
    numbers = np.array([*seqs], np.uint64)
    mine = (np.full(len(numbers), value, np.uint64) for value in (MM, holder))
    return writers.held(*mine, numbers).tolist()


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ("", False),
        (TAKES, True),
        (TAKES + LEAVES, False),
        (TAKES + WORD.format(1, 1, 3), True),  # somebody waits
        (TAKES + WORD.format(1, 1, "0x100"), False),  # downgraded
        (WORD.format(1, 0, "0x100"), False),  # a reader
        (WORD.format(2, 0, 1), False),  # somebody else
        (TAKES.replace("aa0000", "bb0000"), False),
        (TAKES.replace("MMAP_LOCK", "MM_LOCK_SEQ"), False),
        (INIT.format(0), False),
        (INIT.format("0x100"), False),
        (INIT.format(1), True),  # nobody can tell who
        (INIT.format(3), True),
        (INIT.format(1) + WORD.format(2, 1, 0), False),
        (INIT.format(1) + WORD.format(2, 1, 3), True),
        (INIT.format(1) + WORD.format(2, 1, 0) + TAKES, True),
        (INIT.format(1).replace("aa0000", "bb0000"), False),
        (INIT.format(1) + WORD.format(2, 1, 0) + INIT.format(1), True),
    ],
)
def test_who_holds_it_at_the_end(text: str, *, held: bool) -> None:
    assert held_by(Writers(parse(INIT.format(0) + text)), 1, [1000]) == [held]


def test_the_number_of_a_change_belongs_to_what_comes_after() -> None:
    writers = Writers(parse(INIT.format(0) + TAKES + "0 BARRIER\n" + LEAVES))
    assert held_by(writers, 1, range(1, 6)) == [False, True, True, False, False]


def test_what_was_held_before_it_was_watched() -> None:
    """A release that comes first is of a hold that began before."""
    writers = Writers(parse("0 BARRIER\n0 BARRIER\n" + LEAVES + TAKES + LEAVES))
    assert held_by(writers, 1, range(1, 6)) == [True, True, False, True, False]


def test_nobody_can_tell_from_the_first_value_to_the_first_change() -> None:
    text = "0 BARRIER\n" + INIT.format(1) + "0 BARRIER\n" + WORD.format(2, 1, 0) + "0 BARRIER\n"
    writers = Writers(parse(text))
    assert held_by(writers, 1, range(1, 6)) == [False, False, True, False, False]


def test_holders_are_tasks_or_else_cpus() -> None:
    text = "3 BARRIER\n3 PROBE id=TASK_SWITCH a=0x100\n3 BARRIER\n"
    events = parse(text)
    assert holders(Running(events), events).tolist() == [3, 0x100, 0x100]


def test_a_task_holds_it_wherever_it_runs() -> None:
    switch = "{} PROBE id=TASK_SWITCH a=0x100\n"
    text = switch.format(0) + WORD.format(0, 0, 1) + switch.format(1) + WORD.format(1, 1, 0)
    writers = Writers(parse(text))
    assert held_by(writers, 0x100, range(1, 6)) == [
        False,
        True,
        True,
        False,
        False,
    ]
