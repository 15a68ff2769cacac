"""shootdown search: look for a race with random delays, trial by trial

A trial is one guest, restored from a snapshot; its seed, --seed plus the trials before it, decides
when which vCPU is delayed. --inject names the policy (default: targeted). The search ends with the
first trial that violates a rule, whose trace is kept; each such trial prints the line that repeats
it.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Final

from shootdown.cli import given, options
from shootdown.cli.ci import gravest
from shootdown.errors import ExitCode, UsageError
from shootdown.race import interval, search
from shootdown.race.search import Found, Trial
from shootdown.run import record
from shootdown.run.experiment import Experiment

_TRIALS: Final = 40
_POLICY: Final = "targeted"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    options.add_experiment(parser)
    parser.add_argument(
        "--trials",
        type=options.number,
        default=_TRIALS,
        metavar="N",
        help=f"guests at most (default: {_TRIALS})",
    )
    parser.add_argument(
        "--every", action="store_true", help="run all trials, to learn how probable a violation is"
    )
    options.add_policy(parser)
    options.add_out(parser)
    options.add_json(parser)


def execute(args: argparse.Namespace) -> int:
    """Search; 1 for a violation, 0 when every trial passed, else the gravest exit code."""
    if args.trials < 1:
        raise UsageError(f"--trials is {args.trials}; it must be at least 1")
    experiment = _experiment(args)
    tell = given.progress()
    if args.dry_run:
        print(record.dry_run(experiment, tell))
        return ExitCode.PASS
    record.validate(experiment)
    out = given.the_directory(args, "search", room=search.ROOM_BYTES)
    found = Found(experiment)
    for trial in search.search(experiment, args.trials, out.path, tell, every=args.every):
        found.trials.append(trial)
    code = ExitCode.VIOLATION if found.violating else gravest([t.exit_code for t in found.trials])
    value = {"exit_code": int(code), "directory": str(out.path), **found.to_json()}
    given.emit(args, value, _summary(found))
    return code


def _experiment(args: argparse.Namespace) -> Experiment:
    # What the command line and a plan leave open.
    if args.snapshot is None and not args.plan:
        args.snapshot = "auto"
    experiment = given.the_experiment(args)
    return experiment if experiment.inject else replace(experiment, inject=_POLICY)


def _summary(found: Found) -> str:
    lines = [line for trial in found.trials for line in _lines(trial)]
    rate = interval.shown(len(found.violating), found.judged)
    lines.append(f"{found.experiment.inject}: a rule is violated in {rate} trials")
    if unjudged := len(found.trials) - found.judged:
        lines.append(f"{unjudged} further trials have no verdict")
    return "\n".join(lines) + "\n"


def _lines(trial: Trial) -> list[str]:
    word = ExitCode(trial.exit_code).name
    what = ", ".join(trial.rules) or trial.reason
    lines = [f"seed {trial.seed}: {word}, {trial.delays} delays: {what}"]
    return [*lines, f"  {trial.reproduce}"] if trial.exit_code else lines
