"""shootdown report: write and print the reports of a checked run

Reads result.json alone; nothing is checked again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from shootdown.cli import given, options
from shootdown.report import result
from shootdown.run import directory, reportstage


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("directory", type=Path, metavar="DIR", help="run directory")
    options.add_report(parser)


def execute(args: argparse.Namespace) -> int:
    """Write the reports and return the verdict's exit code."""
    run = directory.existing(args.directory)
    value = result.load(run.result)
    reportstage.write(run, value)
    given.show(args, value)
    return value.exit_code
