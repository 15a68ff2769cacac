"""The compiled checker and the interpreted one must say the same, of anything."""

import random
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from shootdown.rules.check import POLICIES
from shootdown.rules.feed import REFERENCE, How
from shootdown.trace.schema import DTYPE, Flag, Kind
from shootdown.trace.text import parse
from tests.compiled.conftest import Checks
from tests.compiled.worker import Job, looked_ahead, looked_ahead_compiled, run
from tests.rules import report_text
from tests.rules.corpus import CORPUS, Case, TextTrace, cases
from tests.rules.strange import TRACES
from tests.rules.test_two_checkers import Arm64Guest, Guest, X86Guest

PIECES = How(fast=True, piece=7)
HOSTILE = (0, 1, 1 << 12, 1 << 31, 1 << 32, 1 << 47, 1 << 48, 1 << 62, 1 << 63)
HOSTILE += tuple((1 << 64) - step for step in (1, 2, 4095, 4096, 4097, 1 << 21, 1 << 47, 1 << 48))
TABLES = (0x10000, 0x11000, 0x12000, 0x13000, 0x20000)
"""Those of the preambles of the corpus, root first."""


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_corpus(case: Case, compiled: Checks):
    trace = TextTrace(case.header("arch"), case.path.read_text())
    report = compiled(Job(trace.arch, trace.events(), case.header("policy", "wilcox")))
    assert not isinstance(report, str), report
    assert report_text.render(report) == report_text.kept(case)


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_no_more_is_kept_in_memory(case: Case, process: ProcessPoolExecutor):
    trace = TextTrace(case.header("arch"), case.path.read_text())
    job = Job(trace.arch, trace.events(), case.header("policy", "wilcox"))
    ours = looked_ahead(job)
    assert process.submit(looked_ahead_compiled, job).result() == ours


@pytest.mark.parametrize("what", TRACES)
def test_strange_traces(what: str, compiled: Checks):
    same(Job("x86_64", TextTrace("x86_64", TRACES[what]).events()), compiled)


def same(job: Job, compiled: Checks) -> None:
    assert compiled(job) == run(job)


class _Compared:
    """A guest that is checked by both."""

    compiled: ClassVar[Checks]

    def teardown(self):
        if hasattr(self, "lines"):
            array = parse("\n".join(self.lines))
            for policy in POLICIES:
                same(Job(self.arch, array, policy, PIECES), type(self).compiled)


class _X86(_Compared, X86Guest):
    pass


class _Arm64(_Compared, Arm64Guest):
    pass


@pytest.mark.parametrize("guest", [_X86, _Arm64])
def test_random_guests(guest: type[Guest], compiled: Checks):
    mine = type(guest.__name__, (guest,), {"compiled": staticmethod(compiled)})
    run_state_machine_as_test(
        mine, settings=settings(max_examples=30, stateful_step_count=60, deadline=None)
    )


@pytest.mark.parametrize("arch", ["x86_64", "arm64"])
@pytest.mark.parametrize("seed", range(60))
def test_hostile_traces(arch: str, seed: int, compiled: Checks):
    begun = parse((CORPUS / f"preamble_{arch}.trace").read_text())
    rows = [*begun.tolist(), *_rows(random.Random(seed), int(begun["seq"][-1]), arch)]
    for how in (PIECES, REFERENCE):
        same(Job(arch, np.array(rows, DTYPE), how=how), compiled)


def _rows(draw: random.Random, seq: int, arch: str) -> Iterator[tuple[int, ...]]:
    """Any events with any fields, and among them some that fit together."""
    valid = 0x67 if arch == "x86_64" else 0xF43
    near = [table + 8 * index for table in TABLES for index in range(4)]
    pool = (*HOSTILE, *near, *(0x400000 + 4096 * n for n in range(4)))

    def word() -> int:
        kind = draw.randrange(4)
        if kind == 0:
            return draw.choice(HOSTILE) | valid
        return draw.choice(pool) | (valid if kind == 1 else 0)

    for number in range(1, 300):
        kind, level = draw.choice(list(Kind)), draw.choice((1, 1, 1, 2, 3, 4, 5, 0, 255))
        store = kind == Kind.PTE_WRITE or draw.random() < 0.3
        slot = draw.choice(near) if store else word()
        row = {
            "seq": seq + number,
            "icount": draw.choice((number, (1 << 64) - 1)),
            "pc": word(),
            "a": slot,
            "b": word(),
            "c": word(),
            "d": 0x400000 + (slot - TABLES[3]) * 512 if slot in near[12:16] else draw.choice(pool),
            "kind": int(Kind.PTE_WRITE if store else kind),
            "id": draw.choice((0, 1, 2, 3, 4, 5, 16, draw.randrange(300), 65535)),
            "cpu": draw.randrange(3),
            "level": level if draw.random() < 0.5 else 1,
            "size": draw.choice((0, 1, 8, 255)),
            "flags": draw.choice((0, 0, int(Flag.LOCAL), 255)),
        }
        yield tuple(row[name] for name in DTYPE.names or ())
