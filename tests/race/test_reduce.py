"""Smaller plans, and the search for the smallest; a function stands for the guest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from shootdown.errors import NotReproducedError
from shootdown.race import find, reduce, words
from shootdown.race.finding import Expected, Finding
from shootdown.race.points import Advance, Hold, Pause, Plan, Point, Step, steps
from shootdown.race.replay import Replayed, Seen
from shootdown.race.shrink import Search, as_sure
from shootdown.run.experiment import Experiment

CLEAR = Point(event="pte_write", thread="mapper", when="after", new="none", of="window")
LOAD = Point(event="load", thread="observer0", when="after", of="page")
ENTER = Point(event="enter", thread="mapper", function="munmap")
STORE = Point(event="store", thread="observer1", when="after", of="window")
BIG = Plan(
    name="big",
    workload="munmap",
    repeat=3,
    holds=(
        Hold(ENTER, (Pause(8),)),
        Hold(CLEAR, (Hold(STORE, (Advance(4), LOAD)), LOAD, Pause(100)), bound_ms=2000),
        Hold(ENTER, (STORE,)),
    ),
)


def test_every_plan_is_smaller_and_can_be() -> None:
    plans = list(reduce.smaller(BIG))
    assert len(set(plans)) > 10
    assert all(reduce.size(plan) < reduce.size(BIG) for plan in plans)
    assert all(plan.holds for plan in plans)


def test_bounds_become_what_was_seen() -> None:
    plan = Plan(name="p", workload="munmap", holds=(Hold(CLEAR, (LOAD,)),))
    assert [p.holds[0].bound_ms for p in reduce.shorter(plan, [15.0])] == [50]
    assert [p.holds[0].bound_ms for p in reduce.shorter(plan, [1000.0])] == []
    assert list(reduce.shorter(plan, [])) == []
    shorter = list(reduce.shorter(BIG, [1.0, 1.0, 1.0, 1.0]))
    every = [steps(plan.holds) for plan in shorter]
    assert sum(Pause(4) in found for found in every) == 1
    assert sum(Advance(2) in found for found in every) == 1
    assert all(reduce.size(plan) < reduce.size(BIG) for plan in shorter)


def search(needs: Callable[[Plan | None], bool], plan: Plan, tries: int = 2) -> Search:
    expected = Expected("stale-after-return", "munmap", "may", "0" * 12)

    def play(tried: Plan | None, _seed: int) -> Seen:
        count = sum(isinstance(s, Hold) for s in steps(tried.holds)) if tried else 0
        times = (2.0,) * (count * tried.repeat if tried else 0)
        same = needs(tried)
        return Seen(Path(), 1 if same else 0, "", same, same, (), times)

    return Search(Finding(plan, Experiment("x86_64"), (expected,)), play, tries, lambda _: None)


def _holds(plan: Plan | None, point: Point, *until: Step) -> bool:
    return plan is not None and any(
        isinstance(step, Hold) and step.point == point and set(until) <= set(step.until)
        for step in steps(plan.holds)
    )


def test_one_hold_is_left() -> None:
    found = search(lambda plan: _holds(plan, CLEAR, LOAD), BIG).run()
    assert found is not None
    assert (found.repeat, found.holds) == (1, (Hold(CLEAR, (LOAD,), bound_ms=10),))


def test_two_holds_are_left() -> None:
    both = search(lambda p: _holds(p, CLEAR) and _holds(p, STORE, Advance(4)), BIG).run()
    assert both is not None
    held = [step for step in steps(both.holds) if isinstance(step, Hold)]
    assert {hold.point for hold in held} == {CLEAR, STORE}
    assert reduce.size(both)[:2] == (2, 3)


def test_no_hold_is_needed() -> None:
    assert search(lambda _: True, BIG).run() is None


def test_what_does_not_come_back_is_told() -> None:
    with pytest.raises(NotReproducedError, match="stale-after-return in munmap did not come back"):
        search(lambda _: False, BIG).run()


def test_a_flaky_finding_is_shrunk_to_what_is_as_sure() -> None:
    """With every hold every second trial hits; without the right one every third."""
    turns = iter(range(10**6))
    tried = search(
        lambda plan: next(turns) % (2 if _holds(plan, CLEAR, LOAD) else 3) == 0, BIG, tries=6
    )
    found = tried.run()
    assert tried.share == 0.5
    assert found is not None
    assert [hold.point for hold in found.holds] == [CLEAR]


def test_a_result_that_was_luck_is_refused() -> None:
    tried = search(lambda plan: plan is None or _holds(plan, CLEAR, LOAD), BIG)
    assert tried.run() is None
    before = tried.tried
    tried.refuse(None)
    found = tried.run()
    assert found is not None
    assert [hold.point for hold in found.holds] == [CLEAR]
    assert tried.tried > before


@pytest.mark.parametrize(
    ("hits", "trials", "share", "sure"),
    [
        (3, 3, 1.0, True),
        (19, 20, 1.0, True),
        (2, 3, 1.0, False),
        (0, 3, 1 / 3, False),
        (1, 3, 1 / 3, True),
        (1, 20, 0.5, False),
    ],
)
def test_fresh_trials_bear_a_result_out(hits: int, trials: int, share: float, sure: bool) -> None:
    expected = Expected("stale-after-return", "munmap", "may", "0" * 12)
    seen = [Seen(Path(), 1, "", n < hits, n < hits, ()) for n in range(trials)]
    assert as_sure(Replayed(expected, tuple(seen)), share) is sure


def test_a_plan_is_tried_once() -> None:
    seen: list[Plan | None] = []

    def needs(plan: Plan | None) -> bool:
        seen.append(plan)
        return plan == BIG

    assert search(needs, BIG, tries=1).run() == BIG
    assert len(seen) == len(set(seen))


def test_words() -> None:
    plan = Plan(name="p", workload="munmap", holds=(Hold(CLEAR, (LOAD,)),))
    assert words.needs(plan) == (
        "needs one hold: mapper, after its PTE clear, until observer0's load of the page"
    )
    assert words.needs(None) == "needs no hold: it happens when nobody is held"
    assert words.needs(BIG) == (
        "needs four holds, 3 times: mapper, at its entry of munmap, until 8 ms have passed; then "
        "mapper, after its PTE clear, until a hold (observer1, after its store, until it has "
        "executed 4 instructions, then observer0's load of the page), then observer0's load of the "
        "page, then 100 ms have passed; then mapper, at its entry of munmap, until observer1's "
        "store"
    )


@pytest.mark.parametrize("race", find.library(), ids=lambda race: race.call)
def test_every_race_can_be_said(race: find.Found) -> None:
    assert words.needs(race.plan).startswith("needs ")
    assert all(reduce.size(plan) < reduce.size(race.plan) for plan in reduce.smaller(race.plan))
