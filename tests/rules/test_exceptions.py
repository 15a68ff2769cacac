"""Each sanctioned exception, deleted: the traces that it names must then be judged otherwise.

E1 to E15 are what correct kernels do that looks like an offence. An exception that nothing would
miss is either not there or not tested.
"""

import importlib
import re
from collections import Counter
from operator import attrgetter

import pytest

from shootdown.rules.base import Rule
from shootdown.rules.check import RULES
from shootdown.rules.exceptions import EXCEPTIONS, Sanctioned
from tests.rules.corpus import cases, found, judged
from tests.rules.deletions import DELETIONS


def _id(value: object) -> str:
    return str(getattr(value, "id", value))


NAMED = [(exception, trace) for exception in EXCEPTIONS for trace in exception.traces]
CASES = {case.name: case for case in cases()}
# What a CPU owes that was spared flushes is the matter of that rule: it grants no exception.
ABOUT = {("lazy-reactivation", "E3")}
each_trace = pytest.mark.parametrize(("exception", "name"), NAMED, ids=_id)
each_exception = pytest.mark.parametrize("exception", EXCEPTIONS, ids=_id)


def test_each_is_there_and_can_be_deleted() -> None:
    assert [exception.id for exception in EXCEPTIONS] == [f"E{n}" for n in range(1, 16)]
    assert set(DELETIONS) == {exception.id for exception in EXCEPTIONS}


@each_exception
def test_it_says_what_and_why(exception: Sanctioned) -> None:
    assert exception.title
    assert re.fullmatch(r"[A-Z`].*[a-z)]\.", exception.text)
    assert exception.reference
    for reference in exception.reference:
        assert re.match(r"[\w/-]+\.[ch],? .*\w+\(\)", reference)


@each_exception
def test_code_is_where_it_says(exception: Sanctioned) -> None:
    for place in exception.code.split("; "):
        module, _, name = place.partition(" ")
        assert attrgetter(name)(importlib.import_module(f"shootdown.{module}"))


@each_trace
def test_trace_is_a_good_one_and_judged(exception: Sanctioned, name: str) -> None:
    case = CASES[name]
    rule = case.run().rules[case.rule]
    assert found(case.run()) == Counter()
    # Wilcox's policy does not arm aliased-translation: that is the exception.
    assert rule.armed or (case.header("armed"), rule.exercised) == ("no", 1)


def test_traces_named_after_an_exception_are_its_own() -> None:
    named = {
        (f"E{number}", case.name)
        for case in cases()
        for number in re.findall(r"good_(?:\w+_)?e(\d+)_", case.name)
    }
    assert named <= {(exception.id, name) for exception, name in NAMED}


@pytest.mark.parametrize("rule", RULES, ids=_id)
def test_rules_speak_of_exceptions_that_concern_them(rule: type[Rule]) -> None:
    spoken = {(rule.id, number) for number in re.findall(r"\bE\d+\b", rule.text)}
    granted = {(rule, exception.id) for exception in EXCEPTIONS for rule in exception.rules}
    assert spoken <= granted | ABOUT


@each_trace
def test_trace_turns_red_without_it(
    exception: Sanctioned, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert found(judged(CASES[name])) == Counter()
    DELETIONS[exception.id](monkeypatch)
    assert {rule for rule, _ in found(judged(CASES[name]))} & set(exception.rules)
