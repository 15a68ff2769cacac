"""shootdown explain: what a rule says, and where it comes from"""

from __future__ import annotations

import argparse

from shootdown.cli import given, options
from shootdown.errors import UsageError
from shootdown.rules.base import Rule
from shootdown.rules.check import RULES
from shootdown.run.experiment import nearest


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("rule", nargs="?", metavar="RULE", help="a rule's id; none: list them")
    options.add_json(parser)


def execute(args: argparse.Namespace) -> int:
    """Print one rule, or a line for each."""
    rules = {rule.id: rule for rule in RULES}
    if args.rule is None:
        listing = "".join(f"{name:22}{rule.title}\n" for name, rule in rules.items())
        given.emit(args, [_value(rule) for rule in rules.values()], listing)
        return 0
    if args.rule not in rules:
        raise UsageError(f"no rule is called {args.rule!r}{nearest(args.rule, list(rules))}")
    rule = rules[args.rule]
    given.emit(args, _value(rule), _text(rule))
    return 0


def _value(rule: type[Rule]) -> dict[str, object]:
    names = ("id", "title", "text", "reference", "archs")
    return {name: getattr(rule, name) for name in names}


def _text(rule: type[Rule]) -> str:
    references = "\n".join(f"  {reference}" for reference in rule.reference)
    return (
        f"{rule.id}: {rule.title}\n\n{rule.text.strip()}\n\n"
        f"Architectures: {', '.join(rule.archs)}\n\nReferences:\n{references}\n"
    )
