"""Plans as files."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shootdown.errors import UsageError
from shootdown.race import Hold, Pause, Plan, Point, plan_file
from shootdown.race.points import CLASSES, Advance, Step

NAMES = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1, max_size=9)
POINTS = st.one_of(
    st.builds(
        Point,
        event=st.just("pte_write"),
        thread=NAMES,
        cpu=st.none() | st.integers(0, 9),
        when=st.sampled_from(["before", "after"]),
        within=st.just("") | NAMES,
        old=st.sampled_from(CLASSES),
        new=st.sampled_from(CLASSES),
        nth=st.integers(1, 99),
    ),
    st.builds(Point, event=st.just("enter"), function=NAMES),
    st.builds(Point, event=st.just("call"), function=NAMES, inside=NAMES),
    st.builds(Point, event=st.just("load"), of=st.sampled_from(["any", "window"])),
)
SIMPLE = st.one_of(
    POINTS, st.builds(Pause, st.integers(1, 600)), st.builds(Advance, st.integers(1, 9))
)


def holds(steps: st.SearchStrategy[Step]) -> st.SearchStrategy[Hold]:
    until = st.lists(steps, min_size=1, max_size=3).map(tuple)
    infeasible = st.sampled_from([(), ("x86_64",), ("x86_64", "arm64")])
    return st.builds(Hold, POINTS, until, st.integers(1, 600_000), infeasible)


PLANS = st.builds(
    Plan,
    name=NAMES,
    workload=NAMES,
    holds=st.lists(holds(SIMPLE | holds(SIMPLE)), min_size=1, max_size=3).map(tuple),
    repeat=st.integers(1, 9),
    iterations=st.integers(1, 9),
    smp=st.integers(1, 4),
    options=st.sampled_from(["", "op=1,patience=20"]),
    swap=st.integers(0, 9),
    disk=st.integers(0, 9),
    events=st.sampled_from(["", "default,vmas"]),
)


@given(PLANS)
def test_both_ways(plan: Plan) -> None:
    assert plan_file.of_toml(plan_file.to_toml(plan)) == plan


GOOD = """schema = 1
name = "x"
workload = "munmap"
[[hold]]
point = { event = "flush", thread = "mapper" }
until = [{ pause_ms = 5 }]
"""


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("schema = 1", "schema = 2", "schema is 2"),
        ("schema = 1", "schema = ", "no TOML"),
        ("workload", "worklod", "a plan has no worklod; did you mean workload?"),
        ("[[hold]]", "[hold]", "two brackets"),
        ('name = "x"\n', "", "a plan needs name"),
        ("thread", "thred", "a point has no thred; did you mean thread?"),
        ('"mapper"', "3", "thread of a point is 3, which is no str"),
        ("pause_ms = 5", 'pause_ms = "5"', "pause_ms of a pause is '5'"),
        ("pause_ms = 5", "advance = 0", "not by 0"),
        ("{ pause_ms = 5 }", "5", "a point is a table, not 5"),
        ("{ pause_ms = 5 }", "", "waits for nothing"),
        ('event = "flush", ', "", "a point needs event"),
    ],
)
def test_files_that_are_no_plan(tmp_path: Path, old: str, new: str, says: str) -> None:
    assert plan_file.of_toml(GOOD).holds[0].until == (Pause(5),)
    path = tmp_path / "plan.toml"
    path.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(UsageError, match=says) as caught:
        plan_file.load(path)
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        plan_file.load(Path("/none.toml"))
