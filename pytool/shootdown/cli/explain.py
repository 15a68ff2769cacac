"""shootdown explain: what a rule or an exception says, and where it comes from"""

from __future__ import annotations

import argparse
import textwrap
from dataclasses import asdict

from shootdown.cli import given, options
from shootdown.errors import UsageError
from shootdown.rules.base import Rule
from shootdown.rules.check import RULES
from shootdown.rules.exceptions import EXCEPTIONS, Sanctioned
from shootdown.run.experiment import nearest


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "id",
        nargs="?",
        metavar="ID",
        help="a rule, or an exception to rules (E1, E2, ...); none: list them",
    )
    options.add_json(parser)


def execute(args: argparse.Namespace) -> int:
    """Print one rule or exception, or a line for each."""
    every: tuple[type[Rule] | Sanctioned, ...] = (*RULES, *EXCEPTIONS)
    known = {one.id: one for one in every}
    if args.id is None:
        listing = "".join(f"{name:26}{one.title}\n" for name, one in known.items())
        given.emit(args, [_value(one) for one in known.values()], listing)
        return 0
    if args.id not in known:
        raise UsageError(f"no rule or exception is called {args.id!r}{nearest(args.id, [*known])}")
    one = known[args.id]
    given.emit(args, _value(one), _text(one))
    return 0


def _value(one: type[Rule] | Sanctioned) -> dict[str, object]:
    if isinstance(one, Sanctioned):
        return asdict(one) | {"rules": one.rules}
    names = ("id", "title", "text", "reference", "archs")
    return {name: getattr(one, name) for name in names}


def _text(one: type[Rule] | Sanctioned) -> str:
    references = "\n".join(f"  {reference}" for reference in one.reference)
    if isinstance(one, Sanctioned):
        traces = "\n".join(f"  {trace}" for trace in one.traces)
        return (
            f"{one.id}: {one.title}\n\n{textwrap.fill(one.text, 100, break_on_hyphens=False)}\n\n"
            f"Rules: {', '.join(one.rules)}\nCode: {one.code}\n\n"
            f"References:\n{references}\n\nTraces:\n{traces}\n"
        )
    return (
        f"{one.id}: {one.title}\n\n{one.text.strip()}\n\n"
        f"Architectures: {', '.join(one.archs)}\n\nReferences:\n{references}\n"
    )
