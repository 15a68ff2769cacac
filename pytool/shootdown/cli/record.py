"""shootdown record: boot a kernel, run workloads, keep the trace

`shootdown record -- PROGRAM ARGS` runs any static program of the host instead of workloads.
Nothing is judged; `shootdown check DIR` does that.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict

from shootdown.cli import given, options
from shootdown.run import record


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    options.add_experiment(parser)
    options.add_out(parser)
    options.add_json(parser)


def execute(args: argparse.Namespace) -> int:
    """Record, print the run directory, and return 0, or what the guest's end means."""
    opened = given.opened(args)
    if opened is None:
        return 0
    session = record.record(opened.experiment, opened.run, opened.tell)
    path = opened.run.path
    given.emit(args, {"directory": str(path)} | asdict(session), f"{path}\n")
    record.raise_failure(session)
    return 0
