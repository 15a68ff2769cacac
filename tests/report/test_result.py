from __future__ import annotations

import json
from pathlib import Path

import pytest

from shootdown.errors import InfraError
from shootdown.report import result, schema

from . import sample


@pytest.mark.parametrize("value", [sample.PASSED, sample.FAILED, sample.CRASHED])
def test_round_trip(value: result.Result, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text(json.dumps(value.to_json()))
    assert result.load(path) == value


@pytest.mark.parametrize("value", [sample.PASSED, sample.FAILED, sample.CRASHED])
def test_written_results_fit_the_schema(value: result.Result) -> None:
    assert schema.problems(value.to_json()) == []


def test_contract_field_names() -> None:
    names = set(sample.FAILED.to_json())
    assert names >= {
        *("schema", "tool", "verdict", "exit_code", "arch", "kernel", "qemu", "seed", "plan"),
        *("workloads", "rules", "violations", "events", "lost", "audit", "holds", "timing"),
    }
    violation = sample.FAILED.to_json()["violations"][0]
    assert set(violation) >= {
        *("rule", "kind", "arch", "mm", "va", "cpus", "site", "summary", "fingerprint", "seq"),
    }


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        (("lost",), "3", "result.lost"),
        (("lost",), True, "result.lost"),
        (("verdict",), "ok", "result.verdict"),
        (("violations", 0, "cpus"), ["1"], "result.violations[0].cpus[0]"),
        (("violations", 0, "holders", 0, "task"), 1, "result.violations[0].holders[0].task"),
        (("rules", "stale-after-return", "may"), None, "result.rules.stale-after-return.may"),
        (("workloads",), {}, "result.workloads"),
        (("kernel",), [], "result.kernel"),
    ],
)
def test_each_wrong_field_is_named(
    path: tuple[str | int, ...], value: object, problem: str
) -> None:
    document = sample.FAILED.to_json()
    place = document
    for key in path[:-1]:
        place = place[key]  # type: ignore[index]
    place[path[-1]] = value  # type: ignore[index]
    (found,) = schema.problems(document)
    assert found.startswith(problem)
    with pytest.raises(InfraError, match="damaged"):
        result.from_json(document)


@pytest.mark.parametrize(
    "key", sorted(set(sample.FAILED.to_json()) - {"windows", "coverage", "stopped"})
)
def test_missing_contract_field_is_found(key: str) -> None:
    document = sample.FAILED.to_json()
    del document[key]
    required = key in schema.RESULT  # type: ignore[operator]
    assert bool(schema.problems(document)) == required


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"schema": 1}'])
def test_damaged_file_is_one_sentence(text: str, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text(text)
    with pytest.raises(InfraError):
        result.load(path)


def test_missing_file_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(InfraError, match="shootdown check"):
        result.load(tmp_path / "result.json")
