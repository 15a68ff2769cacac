"""shootdown run: record, check and report

`shootdown run -- PROGRAM ARGS` runs any static program of the host instead of workloads.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

from shootdown.cli import given, options
from shootdown.errors import ShootdownError, UsageError
from shootdown.report.result import Result
from shootdown.run import checkstage, record, reportstage
from shootdown.run.directory import RunDir
from shootdown.run.experiment import Experiment
from shootdown.run.livestage import Live, LivePlan


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    options.add_experiment(parser)
    options.add_policy(parser)
    options.add_bbm(parser)
    options.add_live(parser)
    options.add_out(parser)
    options.add_report(parser)


def execute(args: argparse.Namespace) -> int:
    """Do all of it and return the verdict's exit code."""
    live = _live(args)
    opened = given.opened(args)
    if opened is None:
        return 0
    opened.tell(f"run directory {opened.run.path}")
    result = perform(opened.experiment, opened.run, opened.tell, live)
    given.show(args, result)
    return result.exit_code


def perform(
    experiment: Experiment,
    run: RunDir,
    tell: Callable[[str], None],
    live: LivePlan | None = None,
) -> Result:
    """Record, check and write the reports; they are there even where a ShootdownError is raised.

    ``live``: check while recording; else afterwards.
    """
    watch = Live(run, experiment.arch, experiment.policy, tell, live) if live else None
    try:
        record.record(experiment, run, tell, live=watch)
        result = checkstage.check(run, tell, report=watch.report if watch else None)
    except ShootdownError as error:
        reportstage.write(run, checkstage.failed(run, error))
        raise
    reportstage.write(run, result)
    return result


def _live(args: argparse.Namespace) -> LivePlan | None:
    if not args.check_live and (args.stop_on_violation or args.pause):
        raise UsageError("--no-check-live sees no violation in time to stop for; leave it out")
    if args.plugin is False or not args.check_live:
        return None
    return LivePlan(stop=args.stop_on_violation or args.pause, pause=args.pause)
