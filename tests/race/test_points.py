"""Plans: what is refused, and what a function describes."""

from __future__ import annotations

from typing import Any

import pytest

from shootdown.errors import UsageError
from shootdown.race import Hold, Pause, Plan, Point, Race, Script, race
from shootdown.race.points import Advance

LOAD = Point(event="load", when="after", of="window")
HOLD = Hold(LOAD, (Pause(1),))


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"event": "pte_writ"}, "did you mean pte_write"),
        ({"event": "load", "when": "later"}, "when cannot be 'later'; did you mean after"),
        ({"event": "pte_write", "old": "valid"}, "old cannot be 'valid'"),
        ({"event": "load", "of": "pages"}, "did you mean page"),
        ({"event": "enter"}, "have a function, and no others"),
        ({"event": "load", "function": "f"}, "have a function, and no others"),
        ({"event": "enter", "function": "f", "inside": "g"}, "only a call is inside"),
        ({"event": "return", "function": "f", "within": "g"}, "its own function"),
        ({"event": "load", "when": "before", "of": "page"}, "speaks of the page"),
        ({"event": "flush", "nth": 0}, "counts from 1"),
        ({"event": "flush", "cpu": -1}, "from 0"),
    ],
)
def test_points_that_are_none(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        Point(**fields)


def test_plans_that_are_none() -> None:
    page = Point(event="load", when="after", of="page")
    for make, says in (
        (lambda: Pause(0), "pause of 0 ms"),
        (lambda: Advance(0), "not by 0"),
        (lambda: Hold(LOAD, ()), "waits for nothing"),
        (lambda: Hold(LOAD, (LOAD,), 0), "bound of 0 ms"),
        (lambda: Plan(name="x", workload="munmap", holds=()), "holds nobody"),
        (lambda: Plan(name="x", workload="munmap", holds=(HOLD,), repeat=0), "repeat of"),
        (lambda: Plan(name="x", workload="munmap", holds=(Hold(page, (LOAD,)),)), "which page"),
    ):
        with pytest.raises(UsageError, match=says):
            make()


def describe(r: Script) -> None:
    """Holds two at once.

    And says more.
    """
    clear = r.thread("mapper").pte_write(old="present", new="none", within="munmap")
    with r.hold(before=clear, bound_ms=100):
        r.advance()
        with r.hold(at=r.cpu(2).enters("flush_tlb_func", nth=3)):
            r.pause(5)
        r.run_until(r.anybody().load("page"))


def test_a_function_describes_a_plan() -> None:
    nested = race(workload="munmap", arch=["amd64"], repeat=2)(describe)
    assert isinstance(nested, Race)
    assert (nested.name, nested.about) == ("describe", "Holds two at once.")
    assert nested.arch == ("x86_64",)
    plan = nested.plan()
    (hold,) = plan.holds
    assert (hold.point.when, hold.bound_ms) == ("before", 100)
    advance, inner, load = hold.until
    assert advance == Advance(1)
    assert isinstance(inner, Hold) and inner.point.cpu == 2 and inner.until == (Pause(5),)
    assert load == Point(event="load", when="after", of="page")
    assert plan.planned == 4
    assert plan.points() == [hold.point, inner.point, load]
    assert str(inner) == "hold anybody on CPU 2 its 3. entry of flush_tlb_func until 5 ms"


def test_a_script_that_holds_nobody() -> None:
    script = Script()
    with pytest.raises(UsageError, match="nobody is held"):
        script.run_until(LOAD)
    with pytest.raises(UsageError, match="takes one of"), script.hold(at=LOAD, after=LOAD):
        pass
