"""Runs the tests on one mutant after another: collected once, each mutant in a process of its own.

A child of the process that has collected the tests gives the mutant's code to the function object
that is there already, so that whoever has imported it runs it, and runs the tests that reach the
function until one fails. Code that only runs while modules are imported has run before: its mutants
go unnoticed.
"""

from __future__ import annotations

import importlib
import os
import random
import resource
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FunctionType
from typing import Literal, TypeAlias

import pytest

from tests.mutation import reach
from tests.mutation.mutants import Mutant

TESTS = (
    *(f"tests/rules/test_{name}.py" for name in ("corpus", "check", "clauses", "dues")),
    *("tests/model", "tests/frames"),
)
JUDGES = (
    "tests/conftest.py",
    *(f"tests/{name}/**/*" for name in ("rules", "model", "frames", "corpus")),
)
"""What the outcome of these tests is made of, beside the package."""
_LIVE = ("tests/rules/test_live.py", "tests/rules/test_live_doubts.py")
OF_ONE = {"rules/live.py": _LIVE, "rules/pinned_wrprotect.py": _LIVE[1:]}
"""Tests that would cost much where they tell nothing new, by the files that they are about."""
OPTIONS = ("-q", "-m", "not guest", "-W", "ignore::pytest.PytestAssertRewriteWarning")
_SECONDS = 20
"""CPU time that a test may take: ten times what the slowest one takes."""
_BYTES = 8 << 30
_LATEST = 3

Word: TypeAlias = Literal["noticed", "timed out", "refused by mypy", "survived", "not reached"]
UNNOTICED = ("survived", "not reached")


@dataclass(frozen=True)
class Outcome:
    """What became of a mutant; ``test`` is the one that failed."""

    name: str
    word: Word
    test: str = ""


@dataclass
class Judge:
    """A plugin of pytest that runs each mutant instead of the tests once."""

    work: list[tuple[Mutant, str]]
    """Mutants, and the file's text with their change."""
    jobs: int
    tell: Callable[[Outcome], None]
    _running: dict[int, tuple[Mutant, int]] = field(default_factory=dict)
    """By process: the mutant, and the pipe that says which test failed."""
    _latest: dict[str, list[str]] = field(default_factory=dict)
    """Tests that noticed the latest mutants of each file."""

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Take the place of pytest's own loop over the tests."""
        session.config.pluginmanager.unregister(name="terminalreporter")
        reached = reach.reached(session.items)
        for mutant, text in self.work:
            mine = reached.get((mutant.file, mutant.function), set())
            tests = [item for item in session.items if item.nodeid in mine]
            tests = [item for item in tests if _judges(item, mutant)]
            if not tests:
                self.tell(Outcome(mutant.name, "not reached"))
                continue
            if len(self._running) == self.jobs:
                self._wait()
            self._start(mutant, text, self._in_order(tests, mutant))
        while self._running:
            self._wait()
        return True

    def _in_order(self, tests: list[pytest.Item], mutant: Mutant) -> list[pytest.Item]:
        """Those in front that may notice the mutant soonest."""
        stem = mutant.file.rpartition("/")[2].removesuffix(".py")
        near = (f"/test_{stem}.py", f"[{stem.replace('_', '-')}/")
        latest, chance = self._latest.get(mutant.file, []), random.Random(mutant.name)

        def key(item: pytest.Item) -> tuple[int, bool, float]:
            known = latest.index(item.nodeid) if item.nodeid in latest else _LATEST
            return known, not any(word in item.nodeid for word in near), chance.random()

        return sorted(tests, key=key)

    def _start(self, mutant: Mutant, text: str, tests: list[pytest.Item]) -> None:
        ours, theirs = os.pipe()
        process = os.fork()
        if process == 0:
            os.close(ours)
            _child(mutant, text, tests, theirs)
        os.close(theirs)
        self._running[process] = mutant, ours

    def _wait(self) -> None:
        process, status = os.wait()
        mutant, pipe = self._running.pop(process)
        with os.fdopen(pipe) as stream:
            test = stream.read()
        word: Word = "noticed" if test else "survived"
        if os.WIFSIGNALED(status):
            word = "timed out" if os.WTERMSIG(status) == signal.SIGPROF else "noticed"
        elif os.WEXITSTATUS(status):
            raise RuntimeError(f"{mutant.name}: the tests did not run")
        if test:
            latest = self._latest.setdefault(mutant.file, [])
            latest[:] = [test, *(other for other in latest if other != test)][:_LATEST]
        self.tell(Outcome(mutant.name, word, test))


def _judges(item: pytest.Item, mutant: Mutant) -> bool:
    file = item.nodeid.partition("::")[0]
    return file not in _LIVE or file in OF_ONE.get(mutant.file, ())


def _child(mutant: Mutant, text: str, tests: list[pytest.Item], pipe: int) -> None:
    """Run the tests until one fails, and end the process: 0 when they could be run."""
    resource.setrlimit(resource.RLIMIT_AS, (_BYTES, _BYTES))
    status = 1
    try:
        _exchange(mutant, text)
        os.write(pipe, _first_failure(tests).encode())
        status = 0
    finally:
        os._exit(status)


def _exchange(mutant: Mutant, text: str) -> None:
    module = importlib.import_module(mutant.module)
    there = dict(vars(module))
    exec(compile(text, str(module.__file__), "exec"), there)
    old, new = _function(vars(module), mutant), _function(there, mutant)
    old.__code__ = new.__code__
    old.__defaults__ = new.__defaults__
    old.__kwdefaults__ = new.__kwdefaults__


def _function(names: dict[str, object], mutant: Mutant) -> FunctionType:
    first, _, method = mutant.function.partition(".")
    found = vars(names[first])[method] if method else names[first]
    if isinstance(found, staticmethod | classmethod):
        found = found.__func__
    assert isinstance(found, FunctionType)
    return found


def _first_failure(tests: list[pytest.Item]) -> str:
    """The id of the first test that fails; empty when none does."""
    for item, following in zip(tests, [*tests[1:], None], strict=True):
        signal.setitimer(signal.ITIMER_PROF, _SECONDS)
        item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
        if item.session.testsfailed:
            return item.nodeid
    return ""


def judge(
    work: list[tuple[Mutant, str]], jobs: int, tell: Callable[[Outcome], None]
) -> pytest.ExitCode:
    """Run the tests on each mutant, and tell what became of it."""
    return pytest.ExitCode(
        pytest.main([*OPTIONS, *TESTS, *_LIVE], plugins=[Judge(work, jobs, tell)])
    )
