"""shootdown run: record, check and report

`shootdown run -- PROGRAM ARGS` runs any static program of the host instead of workloads.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

from shootdown.cli import options
from shootdown.errors import ShootdownError
from shootdown.report.result import Result
from shootdown.run import checkstage, record, reportstage
from shootdown.run.directory import RunDir
from shootdown.run.experiment import Experiment


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    options.add_experiment(parser)
    options.add_policy(parser)
    options.add_out(parser)
    options.add_report(parser)


def execute(args: argparse.Namespace) -> int:
    """Do all of it and return the verdict's exit code."""
    experiment = options.the_experiment(args)
    tell = options.progress()
    if args.dry_run:
        print(record.dry_run(experiment, tell))
        return 0
    record.validate(experiment)
    run = options.the_directory(args, experiment.arch)
    tell(f"run directory {run.path}")
    result = perform(experiment, run, tell)
    options.show(args, result)
    return result.exit_code


def perform(experiment: Experiment, run: RunDir, tell: Callable[[str], None]) -> Result:
    """Record, check and write the reports; they are there even where a ShootdownError is raised."""
    try:
        record.record(experiment, run, tell)
        result = checkstage.check(run, tell)
    except ShootdownError as error:
        reportstage.write(run, checkstage.failed(run, error))
        raise
    reportstage.write(run, result)
    return result
