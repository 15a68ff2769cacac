"""Writes docs/rules.md: ``python -m shootdown.rules.document [--check]``."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from shootdown.errors import ExitCode
from shootdown.rules.check import RULES
from shootdown.rules.exceptions import EXCEPTIONS, Sanctioned

PATH: Final = Path(__file__).resolve().parents[3] / "docs/rules.md"

_HEAD: Final = """\
<!-- Made from pytool/shootdown/rules by `python -m shootdown.rules.document`; do not edit. -->
# Rules

Every rule says which situations it is about. A run that never saw such a situation reports the
rule as not exercised, never as passed. A finding is **MAY** when the model says that a CPU may
still hold what it must not, and **WITNESS** when a CPU was seen using it. Both are violations.
What looks like an offence and is none has a number (E1 to E15): [exceptions](#exceptions), behind
the rules.
"""
_EXCEPTIONS: Final = """\
## Exceptions

What correct kernels do that looks like an offence. No rule reports it. Traces of the corpus show
that (`tests/corpus`), and a test takes each exception out of the checker
(`tests/rules/test_exceptions.py`): its traces are then judged otherwise.
"""


def document() -> str:
    """The text of docs/rules.md."""
    parts = [_HEAD]
    for rule in RULES:
        references = "\n".join(f"* {reference}" for reference in rule.reference)
        parts.append(
            f"## {rule.id}\n\n*{rule.title}.* Architectures: {', '.join(rule.archs)}.\n\n"
            f"{rule.text}\n\n{references}\n"
        )
    return "\n".join([*parts, _EXCEPTIONS, *map(_exception, EXCEPTIONS)])


def _exception(exception: Sanctioned) -> str:
    lines = [
        f"Rules: {_code(exception.rules)}",
        f"Code: {_code(exception.code.split('; '))}",
        *exception.reference,
        f"Traces: {_code(exception.traces)}",
    ]
    text = textwrap.fill(exception.text, 100, break_on_hyphens=False)
    facts = "\n".join(f"* {line}" for line in lines)
    return f"### {exception.id}: {exception.title}\n\n{text}\n\n{facts}\n"


def _code(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def main(argv: Sequence[str] | None = None) -> int:
    """Write the document, or with ``--check`` say whether it is out of date."""
    parser = argparse.ArgumentParser(prog="python -m shootdown.rules.document", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail on drift")
    if parser.parse_args(argv).check:
        if PATH.is_file() and PATH.read_text(encoding="utf-8") == document():
            return ExitCode.PASS
        print(f"{PATH} differs from the rules: run {parser.prog} and commit", file=sys.stderr)
        return ExitCode.INFRA
    PATH.write_text(document(), encoding="utf-8")
    return ExitCode.PASS


if __name__ == "__main__":
    sys.exit(main())
