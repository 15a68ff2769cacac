"""Which tests reach which function: only those can notice its mutants."""

from __future__ import annotations

import json
import os
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType

import pytest

from tests.mutation.mutants import PACKAGE
from tests.rules import corpus

Reached = dict[tuple[str, str], set[str]]
"""Ids of tests, by file and function."""


def reached(items: list[pytest.Item]) -> Reached:
    """Run all tests once, in a child: they leave nothing behind that a mutant could find."""
    ours, theirs = os.pipe()
    process = os.fork()
    if process == 0:
        _child(items, theirs)
    os.close(theirs)
    with os.fdopen(ours) as stream:
        calls = stream.read()
    if os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]):
        raise RuntimeError("the tests do not pass without any change")
    found: Reached = defaultdict(set)
    for test, file, function in json.loads(calls):
        found[file, function].add(test)
    return found


def _child(items: list[pytest.Item], pipe: int) -> None:
    """Write down who calls what, and end the process: 0 when all tests pass."""
    status = 1
    try:
        with os.fdopen(pipe, "w") as stream:
            json.dump(list(_calls(items)), stream)
        status = 0
    finally:
        os._exit(status)


def _calls(items: list[pytest.Item]) -> Iterator[tuple[str, str, str]]:
    for item, following in zip(items, [*items[1:], None], strict=True):
        corpus.report_of.cache_clear()
        for code in _codes(item, following):
            path, function = Path(code.co_filename), code.co_qualname.split(".<locals>")[0]
            if path.is_relative_to(PACKAGE):
                yield item.nodeid, path.relative_to(PACKAGE).as_posix(), function
        assert not item.session.testsfailed, item.nodeid


def _codes(item: pytest.Item, following: pytest.Item | None) -> set[CodeType]:
    """Code that ran during a test."""
    seen: set[CodeType] = set()

    def note(frame: FrameType, event: str, argument: object) -> None:
        seen.add(frame.f_code)

    sys.setprofile(note)
    try:
        item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
    finally:
        sys.setprofile(None)
    return seen
