"""shootdown explain: what a rule says, and where it comes from"""

from __future__ import annotations

import argparse

from shootdown.errors import UsageError
from shootdown.rules.check import RULES
from shootdown.run.experiment import nearest


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("rule", nargs="?", metavar="RULE", help="a rule's id; none: list them")


def execute(args: argparse.Namespace) -> int:
    """Print one rule, or a line for each."""
    rules = {rule.id: rule for rule in RULES}
    if args.rule is None:
        for name, rule in rules.items():
            print(f"{name:22}{rule.title}")
        return 0
    if args.rule not in rules:
        raise UsageError(f"no rule is called {args.rule!r}{nearest(args.rule, list(rules))}")
    rule = rules[args.rule]
    print(f"{rule.id}: {rule.title}\n\n{rule.text.strip()}\n")
    print(f"Architectures: {', '.join(rule.archs)}\n\nReferences:")
    for reference in rule.reference:
        print(f"  {reference}")
    return 0
