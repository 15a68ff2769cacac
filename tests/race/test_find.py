"""What a command line may call a race."""

from __future__ import annotations

from pathlib import Path

import pytest

from shootdown.errors import UsageError
from shootdown.race import find, plan_file
from shootdown.run import artifacts

RACES = """
from shootdown.race import Script, race

def enters(r: Script) -> None:
    with r.hold(at=r.thread("mapper").enters("do_munmap")):
        r.pause(5)

one = race(workload="munmap", arch=["arm64"])(enters)
two = race(workload="mremap")(enters)
"""


def test_library() -> None:
    known = find.library()
    calls = [race.call for race in known]
    assert len(set(calls)) == len(calls) >= 5
    assert all(race.about and race.arch for race in known)
    assert {race.plan.workload for race in known} <= set(artifacts.workload_names())
    for race in known:
        assert find.find(race.call) == [race]
        assert race in find.find(race.call.partition("::")[0])
        assert plan_file.of_toml(plan_file.to_toml(race.plan)) == race.plan


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(RACES)
    one, two = find.find(str(path))
    assert (one.call, one.arch) == (f"{path}::one", ("arm64",))
    assert find.find(f"{path}::two") == [two]
    plan = tmp_path / "mine.toml"
    plan.write_text(plan_file.to_toml(two.plan))
    assert find.find(str(plan))[0].plan == two.plan


@pytest.mark.parametrize(
    ("text", "call", "says"),
    [
        (RACES, "mine.py::on", "there is no race .*did you mean .*::one"),
        ("x = 1", "mine.py", "there is no race"),
        ("x = 1\ny = x / 0", "mine.py", "cannot be executed: ZeroDivisionError.* in line 2"),
        ("def x(:", "mine.py", "cannot be executed: SyntaxError"),
        (RACES, "other.py", "there is no file other.py"),
        (RACES, "munmap::load_before_flus", "did you mean munmap::load_before_flush"),
        (RACES, "none.toml", "none.toml cannot be read"),
    ],
)
def test_calls_that_find_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, call: str, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(UsageError, match=says):
        find.find(call)
