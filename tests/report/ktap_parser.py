"""A KTAP reader, written from Documentation/dev-tools/ktap.rst; it knows nothing of the writer."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

RESULT = re.compile(r"(ok|not ok) (\d+) ([^#]*?)(?: # (.*))?")
DIRECTIVES = ("SKIP", "TODO", "XFAIL", "TIMEOUT", "ERROR")


@dataclass
class Parsed:
    name: str
    ok: bool
    directive: str = ""
    remark: str = ""
    subtests: list[Parsed] = field(default_factory=list)
    diagnostics: list[str] = field(default_factory=list)


def parse(text: str) -> list[Parsed]:
    """The top-level tests; AssertionError where the document breaks the format."""
    lines = text.splitlines()
    tests, rest = _block(lines, "")
    assert not rest, rest
    return tests


def _block(lines: list[str], indent: str) -> tuple[list[Parsed], list[str]]:
    assert lines[0] == f"{indent}KTAP version 1", lines[0]
    lines = lines[1:]
    diagnostics = []
    while lines[0].startswith(f"{indent}# "):
        lines = lines[1:]
    plan = re.fullmatch(rf"{indent}1\.\.(\d+)", lines[0])
    assert plan, lines[0]
    lines = lines[1:]
    tests: list[Parsed] = []
    subtests: list[Parsed] = []
    while lines:
        line = lines[0]
        if line == f"{indent}  KTAP version 1":
            subtests, lines = _block(lines, indent + "  ")
        elif line.startswith(f"{indent}# "):
            diagnostics.append(line.strip())
            lines = lines[1:]
        elif line.startswith(indent) and (found := RESULT.fullmatch(line[len(indent) :])):
            lines = lines[1:]
            assert int(found[2]) == len(tests) + 1, "numbers must follow each other"
            tests.append(_result(found, subtests, diagnostics))
            subtests, diagnostics = [], []
        else:
            break
    assert len(tests) == int(plan[1]), f"plan says {plan[1]}, there are {len(tests)}"
    assert not subtests, "subtests without their parent's result"
    return tests, lines


def _result(found: re.Match[str], subtests: list[Parsed], diagnostics: list[str]) -> Parsed:
    remark = found[4] or ""
    word = remark.split(" ")[0]
    return Parsed(
        found[3],
        found[1] == "ok",
        word if word in DIRECTIVES else "",
        remark,
        subtests,
        diagnostics,
    )
