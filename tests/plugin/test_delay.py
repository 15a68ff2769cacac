"""Which arrivals the plugin delays, and for how long: as race.draws foretells, in any order."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from shootdown.race import draws
from tests.plugin.conftest import REPOSITORY, compile_with

Made = list[tuple[int, int, int, int]]
"""vCPU, point, arrival, ns."""
LAWS = {
    1: {"chance": 300_000, "min_ns": 1, "octaves": 12},
    2: {"chance": 1_000_000, "min_ns": 100, "octaves": 0},
    7: {"chance": 1000, "min_ns": 3, "octaves": 5},
}
CPUS = 3


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Path:
    plugin = REPOSITORY / "plugin"
    out = tmp_path_factory.mktemp("delay") / "delay"
    here = Path(__file__).with_name("delay.c")
    return compile_with(out, here, plugin / "delay.c", plugin / "plandelay.c")


def run(harness: Path, plan: str, arrivals: int) -> Made:
    words = [str(harness), str(arrivals)]
    done = subprocess.run(words, input=plan, capture_output=True, text=True, check=True)
    return [tuple(map(int, line.split())) for line in done.stdout.splitlines()]  # type: ignore[misc]


def plan_of(seed: int, limit: int = 10**6) -> str:
    lines = [f"delay_seed {seed}"]
    for point, law in LAWS.items():
        numbers = f"{law['chance']} {law['min_ns']} {law['octaves']} {limit}"
        lines.append(f"delay {point} exec {(1 << 64) - point:#x} chance {numbers}")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("seed", [0, 1, 2**63 + 5, 2**64 - 1])
def test_foretold(harness: Path, seed: int) -> None:
    wanted = [
        (cpu, point, arrival, ns)
        for cpu in range(CPUS)
        for point, law in LAWS.items()
        for arrival in range(1, 201)
        if (ns := draws.delay_ns(seed, cpu, point, arrival, **law))
    ]
    assert sorted(run(harness, plan_of(seed), 200)) == wanted


def test_the_order_of_vcpus_decides_nothing_and_the_seed_all(harness: Path) -> None:
    in_turn = sorted(run(harness, plan_of(5), 100))
    assert in_turn == sorted(run(harness, plan_of(5), -100))
    assert in_turn != sorted(run(harness, plan_of(6), 100))


def test_vcpus_and_points_draw_numbers_of_their_own(harness: Path) -> None:
    made = run(harness, plan_of(5), 200)
    first = {cpu: [m[2:] for m in made if m[:2] == (cpu, 1)] for cpu in range(CPUS)}
    assert first[0] != first[1] != first[2] != first[0]


def test_a_limit(harness: Path) -> None:
    made = run(harness, plan_of(5, limit=3), 100)
    assert [m[2] for m in made if m[:2] == (0, 2)] == [1, 2, 3]


def test_ranks_change_with_the_arrivals(harness: Path) -> None:
    plan = "delay 4 exec -16 rank 10 1000\nrank 1 0 1\nrank 2 3 2\nrank 1 5 0\n"
    made = run(harness, plan, 6)
    assert [m for m in made if m[0] == 0] == []
    assert [m for m in made if m[0] == 1] == [(1, 4, n, 10) for n in range(1, 6)]
    assert [m for m in made if m[0] == 2] == [(2, 4, n, 20) for n in range(4, 7)]
