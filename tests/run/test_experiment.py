from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shootdown.errors import UsageError
from shootdown.run import experiment
from shootdown.run.experiment import Experiment

# Text without surrogates: what a command line can be decoded to and a file can hold.
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@given(
    st.builds(
        Experiment,
        arch=words,
        kernel=words,
        workloads=words,
        command=st.lists(words, max_size=3).map(tuple),
        rootfs=words,
        iterations=st.integers(1, 10**9),
        seed=st.integers(0, 2**64 - 1),
        smp=st.integers(1, 255),
        policy=st.sampled_from(experiment.POLICIES),
        plugin=st.booleans(),
        append=words,
        disk=st.integers(0, 1 << 16),
        options=st.sampled_from(["", "op=1", "op=1,patience=20"]),
    )
)
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, value: Experiment) -> None:
    path = tmp_path_factory.mktemp("plan") / "plan.toml"
    path.write_text(value.to_toml())
    assert experiment.load(path) == value


def load(tmp_path: Path, text: str) -> Experiment:
    path = tmp_path / "plan.toml"
    path.write_text(text)
    return experiment.load(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("schema = ", "not TOML"),
        ("arch = 'x'", "schema None"),
        ("schema = 1", "arch is missing"),
        ("schema = 1\narch = 'x'\nsede = 3", "unknown key sede; did you mean seed"),
        ("schema = 1\narch = 'x'\nseed = '3'", "seed must be int"),
        ("schema = 1\narch = 'x'\nseed = true", "seed must be int"),
        ("schema = 1\narch = 'x'\ncommand = [1]", "command must be tuple"),
        ("schema = 1\narch = 'x'\nsmp = 0", "smp is 0"),
        ("schema = 1\narch = 'x'\noptions = 'op'", "KEY=VALUE, not 'op'"),
        ("schema = 1\narch = 'x'\npolicy = 'wilcock'", "did you mean wilcox"),
    ],
)
def test_bad_plans_name_file_and_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        load(tmp_path, text)
    assert "plan.toml" in str(caught.value)


def test_missing_plan(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        experiment.load(tmp_path / "none.toml")


def test_workloads_have_their_own_number_of_iterations() -> None:
    own = Experiment("x86_64")
    assert own.iterations_of("map_fixed") > own.iterations_of("counting") > 0
    assert Experiment("x86_64", iterations=7).iterations_of("counting") == 7


def test_options_of_workloads() -> None:
    assert Experiment("x86_64", options="op=1,patience=20").options_of() == {
        "op": "1",
        "patience": "20",
    }
    assert Experiment("x86_64").options_of() == {}


def test_line_to_repeat_holds_what_differs() -> None:
    value = Experiment("arm64", seed=9, workloads="m*", command=("/bin/a b", "c"))
    line = value.command_line()
    assert shlex.split(line) == [
        *("shootdown", "run", "--arch", "arm64", "--workload", "m*", "--seed", "9"),
        *("--", "/bin/a b", "c"),
    ]
