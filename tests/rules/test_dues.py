"""What is due, filed by the moments at which it may be."""

from __future__ import annotations

import pytest

from shootdown.model.entries import Stale, Superseded
from shootdown.model.tasks import Task
from shootdown.rules import deadline_dues
from shootdown.rules.deadline_dues import Due, Dues
from shootdown.rules.deadline_rows import MUNMAP

ALICE, BOB = Task(1), Task(2)


def superseded(root: int) -> Superseded:
    return Superseded(
        root=root,
        va=0x400000,
        end=0x401000,
        level=1,
        is_table=False,
        old=0x50067,
        new=0,
        target=0x50000,
        reason="unmapped",
        seq=1,
        icount=1,
        pc=1,
        cpu=0,
        task="a/1",
        call=None,
        holders=(1, 2),
    )


def due(*keys: str, task: Task = ALICE, root: int = 0x10000) -> Due:
    what = superseded(root)
    return Due(MUNMAP, what, [Stale(1, root, what), Stale(2, root, what)], task, keys)


def filed(*dues: Due) -> Dues:
    found = Dues()
    for one in dues:
        found.add(one)
    return found


def test_what_is_taken_is_due_nowhere_else() -> None:
    first, second = due("unlock", "gather"), due("unlock")
    dues = filed(first, second)
    assert dues.has("unlock")
    assert dues.has("gather")
    assert dues.take("unlock") == [first, second]
    assert not dues.has("unlock")
    assert not dues.has("gather")
    assert dues.take("unlock") == []


def test_others_stay_where_one_is_taken() -> None:
    first, second = due("gather", "unlock"), due("unlock")
    dues = filed(first, second)
    assert dues.take("gather") == [first]
    assert dues.take("unlock") == [second]


def test_a_moment_that_was_no_deadline() -> None:
    one, other = due("ptl", "unlock"), due("ptl")
    dues = filed(one, other)
    dues.cancel("ptl")
    dues.cancel("never")
    assert not dues.has("ptl")
    assert one.keys == ("unlock",)
    assert dues.take("unlock") == [one]


def test_a_task_in_user_mode_owes_nothing() -> None:
    mine, others = due("unlock"), due("unlock", task=BOB)
    dues = filed(mine, others)
    dues.over(ALICE)
    dues.over(ALICE)
    assert dues.take("unlock") == [others]


def test_an_address_space_that_is_gone() -> None:
    mine, others = due("unlock"), due("unlock", root=0x20000)
    dues = filed(mine, others)
    dues.forget(0x10000)
    assert dues.take("unlock") == [others]


def test_what_nobody_can_miss_is_thrown_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline_dues, "_MANY", 2)
    flushed, half, waiting = due("a"), due("b"), due("c", task=BOB)
    flushed.stales[0].alive = flushed.stales[1].alive = half.stales[0].alive = False
    assert (flushed.over, half.over, waiting.over) == (True, False, False)
    dues = filed(flushed, half)
    assert dues.has("a")
    dues.add(waiting)
    assert [dues.has(key) for key in "abc"] == [False, True, True]
    # Twice what is left, and so many more, are to come before the next time.
    more = [due(f"m{number}") for number in range(5)]
    for one in more:
        one.stales = []
    for one in more[:4]:
        dues.add(one)
    assert dues.has("m0")
    dues.add(more[4])
    assert not any(dues.has(f"m{number}") for number in range(5))
    assert [dues.has(key) for key in "bc"] == [True, True]
