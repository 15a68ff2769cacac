"""shootdown check: judge a recording again, offline

Reads the trace, guest.json and audit.json of a run directory and writes result.json and the
reports. A recording that was interrupted can be checked too.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from shootdown.cli import given, options
from shootdown.run import checkstage, directory, reportstage


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("directory", type=Path, metavar="DIR", help="run directory")
    options.add_policy(parser)
    options.add_bbm(parser)
    options.add_report(parser)


def execute(args: argparse.Namespace) -> int:
    """Check, report, and return the verdict's exit code."""
    run = directory.existing(args.directory)
    result = checkstage.check(run, given.progress(), policy=args.policy, bbm=args.bbm)
    reportstage.write(run, result)
    given.show(args, result)
    return result.exit_code
