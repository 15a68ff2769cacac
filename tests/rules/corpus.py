"""The golden corpus: traces as text, each with what the checker must say about it.

A file begins with comment lines ``# arch: NAME``, ``# expect: none`` or ``# expect: RULE KIND N,
...``, and optionally ``# policy: NAME`` and ``# exercised: N`` (of the rule whose directory it is
in; without it, at least one), ``# armed: no`` (that rule; without it, it is) and
``# coverage: NAME N, ...``. ``preamble_<arch>.trace`` is put in front of it.
"""

import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from shootdown.rules.check import CheckReport, check
from shootdown.trace.text import parse
from shootdown.trace.types import Events

CORPUS = Path(__file__).parents[1] / "corpus"


@dataclass(frozen=True)
class TextTrace:
    arch: str
    text: str

    def events(self) -> Events:
        preamble = (CORPUS / f"preamble_{self.arch}.trace").read_text()
        return parse(preamble + self.text)


@dataclass(frozen=True)
class Case:
    path: Path

    @property
    def name(self) -> str:
        return f"{self.path.parent.name}/{self.path.stem}"

    @property
    def rule(self) -> str:
        return self.path.parent.name

    def header(self, key: str, default: str = "") -> str:
        found = re.search(rf"^# {key}: (.*)$", self.path.read_text(), re.MULTILINE)
        return found[1].strip() if found else default

    @property
    def expected(self) -> Counter[tuple[str, str]]:
        expect = self.header("expect")
        if expect == "none":
            return Counter()
        words = [part.split() for part in expect.split(",")]
        return Counter({(rule, kind): int(count) for rule, kind, count in words})

    @property
    def coverage(self) -> dict[str, int]:
        """Entries of the report's coverage that the trace is about."""
        parts = [part.split() for part in self.header("coverage").split(",") if part]
        return {name: int(count) for name, count in parts}

    def run(self) -> CheckReport:
        """What the checker says; of several tests that ask, the first pays."""
        return report_of(self)


def judged(case: Case) -> CheckReport:
    """What the checker says now."""
    trace = TextTrace(case.header("arch"), case.path.read_text())
    return check(trace, case.header("policy", "wilcox"))


report_of = cache(judged)


def repeated(times: int) -> TextTrace:
    """A defect that occurs so often: mmap(MAP_FIXED) without a flush, seen by nobody."""
    text = (CORPUS / "stale-after-return/bad_map_fixed_witness.trace").read_text()
    head, call = text.split("\n0 PROBE id=SYSCALL")
    once = "\n0 PROBE id=SYSCALL" + call.replace("1 OBS", "#").replace("1 RET_USER", "#")
    back = "\n0 PTE_WRITE a=0x13000 c=0x{:x}067 d=0x400000 level=1"
    rounds = [
        once.replace("0x50067", f"{0x50 + i:#x}067") + back.format(0x51 + i) for i in range(times)
    ]
    return TextTrace("x86_64", head + "".join(rounds))


def cases() -> list[Case]:
    return [Case(path) for path in sorted(CORPUS.glob("*/*.trace"))]


def found(report: CheckReport) -> Counter[tuple[str, str]]:
    """Findings of armed rules by rule and kind."""
    counts: Counter[tuple[str, str]] = Counter()
    for rule in report.rules.values():
        if rule.armed:
            counts[rule.id, "may"] = rule.may
            counts[rule.id, "witness"] = rule.witness
    return +counts
