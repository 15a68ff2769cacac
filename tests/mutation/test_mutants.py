"""The tool that changes the checker changes one thing, and whoever calls the function sees it."""

from __future__ import annotations

import pytest

pytest.importorskip("mutmut", reason="pip install -e '.[mutation]'")

from shootdown.model.pagetables import span_of
from tests.mutation.__main__ import draw
from tests.mutation.judge import _exchange
from tests.mutation.mutants import Source, sources

FILE = "model/pagetables.py"


def test_every_mutant_is_a_change_of_its_own() -> None:
    source = Source("rules/free_before_flush.py")
    mutants = source.mutants()
    texts = {source.changed(mutant) for mutant in mutants}
    assert len(texts) == len(mutants) == len({mutant.name for mutant in mutants})
    assert source.text not in texts
    for text in texts:
        compile(text, source.file, "exec")


def test_a_larger_sample_holds_the_smaller_one() -> None:
    found = sources("rules/free_")
    assert {source.file for source in found} == {"rules/free_before_flush.py"}
    names = [mutant.name for mutant in draw(found, 8, seed=1)]
    assert [mutant.name for mutant in draw(found, 4, seed=1)] == names[:4]
    assert [mutant.name for mutant in draw(found, 8, seed=2)] != names


def test_everybody_who_has_imported_a_function_runs_the_mutant() -> None:
    source = Source(FILE)
    (mutant,) = (
        one
        for one in source.mutants()
        if one.function == "span_of" and any("1 >>" in line for line in source.change(one))
    )
    kept = span_of.__code__
    assert span_of(2) == 1 << 21
    try:
        _exchange(mutant, source.changed(mutant))
        assert span_of(2) == 0
    finally:
        span_of.__code__ = kept
    assert span_of(2) == 1 << 21
