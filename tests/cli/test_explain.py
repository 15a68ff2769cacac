import json

import pytest

from shootdown.rules.check import RULES
from shootdown.rules.exceptions import EXCEPTIONS
from tests.cli.conftest import Cli
from tests.cli.test_usage import one_sentence


@pytest.mark.parametrize("one", [*RULES, *EXCEPTIONS], ids=lambda one: one.id)
def test_each_is_explained(cli: Cli, one) -> None:
    code, out, err = cli("explain", one.id)
    assert (code, err) == (0, "")
    assert out.startswith(f"{one.id}: {one.title}\n")
    assert all(reference in out for reference in one.reference)
    assert max(map(len, out.partition("References")[0].partition("Code")[0].splitlines())) <= 100


def test_an_exception_says_all_that_there_is_to_know(cli: Cli) -> None:
    _, out, _ = cli("explain", "E14")
    assert "goes back to its pool" in out
    assert "Rules: free-before-flush\n" in out
    assert "Code: rules.frees FreedFrames.freed\n" in out
    assert "  free-before-flush/good_e14_hugetlb_page_goes_to_its_pool\n" in out


def test_an_exception_as_json(cli: Cli) -> None:
    value = json.loads(cli("explain", "E9", "--json")[1])
    assert (value["id"], value["title"]) == ("E9", "Zaps under shared locks")
    assert value["rules"] == ["aliased-translation", "flush-deadline", "break-before-make"]


def test_all_are_listed(cli: Cli) -> None:
    known = [one.id for one in (*RULES, *EXCEPTIONS)]
    assert [line.split()[0] for line in cli("explain")[1].splitlines()] == known
    assert [one["id"] for one in json.loads(cli("explain", "--json")[1])] == known


@pytest.mark.parametrize(("word", "hint"), [("E16", "did you mean"), ("e8", "did you mean E8?")])
def test_unknown_exception(cli: Cli, word: str, hint: str) -> None:
    code, out, err = cli("explain", word)
    assert (code, out) == (2, "")
    said = one_sentence(err)
    assert f"no rule or exception is called '{word}'" in said and hint in said
