"""``git bisect run shootdown bisect`` over kernels of which some have lost their flush."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shootdown import arch

from . import kernels
from .kernels import git

pytestmark = pytest.mark.guest

FIRST_BAD = 5
BROKEN_BUILD = 3


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the repository goes. It is large, and pytest would keep it."""
    monkeypatch.setenv("SHOOTDOWN_CACHE", str(tmp_path / "cache"))
    yield tmp_path / "linux"
    for large in ("linux", "cache"):
        shutil.rmtree(tmp_path / large, ignore_errors=True)


@pytest.mark.parametrize("name", ["x86_64", pytest.param("arm64", marks=pytest.mark.slow)])
def test_the_commit_that_lost_the_flush_is_found(name: str, place: Path) -> None:
    commits = kernels.repository(place, arch.get(name))
    git(place, "bisect", "start", commits[-1], commits[0])
    words = [sys.executable, "-m", "shootdown.cli", "bisect", "--build", "make --silent"]
    words += ["--kernel", kernels.FILE[name], "--workload", "map_fixed", "--iterations", "60"]
    words += ["--expect", "stale-after-return"]
    done = subprocess.run(
        ["git", "bisect", "run", *words], cwd=place, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{commits[FIRST_BAD]} is the first bad commit" in done.stdout
    assert git(place, "rev-parse", "refs/bisect/bad").strip() == commits[FIRST_BAD]
    assert f"refs/bisect/skip-{commits[BROKEN_BUILD]}" in git(place, "for-each-ref")
    assert "exit code 4 is 125 for git: skip" in done.stderr
    judged = verdicts(place)
    assert judged[commits[FIRST_BAD]] == 1 and judged[commits[FIRST_BAD - 1]] == 0
    assert commits[BROKEN_BUILD] not in judged


def verdicts(place: Path) -> dict[str, int]:
    """Exit code of the run of each commit, by the name of its directory."""
    found = {}
    for run in (place / "runs").iterdir():
        commit = git(place, "rev-parse", run.name.partition("-")[2]).strip()
        found[commit] = json.loads((run / "result.json").read_text())["exit_code"]
    return found
