"""shootdown bisect: check the kernel in this tree, for `git bisect run`

`git bisect run shootdown bisect --build 'make -j8' --workload munmap` finds the commit from which
on a kernel breaks a rule. The exit code is git's: 0 the kernel is good, 1 it is bad, 125 nobody
knows, so skip the commit: it does not build or boot, crashes, or the evidence has holes.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from shootdown import arch
from shootdown.cli import given, options, run
from shootdown.errors import ExitCode, InconclusiveError, SkippedError, UsageError
from shootdown.kernel.cache import cache_root
from shootdown.report.result import Result
from shootdown.rules.check import RULES
from shootdown.run import directory, record, source
from shootdown.run.experiment import Experiment, nearest

SKIP: Final = 125
STOP: Final = 128
"""From here on git ends the bisection: we were interrupted."""
_HERE: Final = "."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    git = parser.add_argument_group("what git bisects")
    git.add_argument(
        "--build", metavar="CMD", help="shell command that builds the kernel; if it fails: 125"
    )
    git.add_argument(
        "--expect", metavar="RULE", help="only a violation of this rule is bad; of others: 125"
    )
    options.add_experiment(parser, kernel="this tree", architecture="the kernel's")
    options.add_policy(parser)
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="where run directories go (default: runs)"
    )
    options.add_report(parser, default="")


def execute(args: argparse.Namespace) -> int:
    """Build, run and judge; the exit code of ``shootdown run``, which ``guarded`` translates."""
    experiment = _planned(args)
    tell = given.progress()
    if args.build:
        tell(f"build: {args.build}")
        _build(args.build)
    experiment = _found(args)
    record.validate(experiment)
    here = directory.create_numbered(args.out or given.RUNS, _commit() or experiment.arch)
    tell(f"run directory {here.path}")
    result = run.perform(experiment, here, tell)
    if args.format or args.json:  # git prints much as it is
        given.show(args, result)
    tell(f"see {here.report}")
    if args.expect:
        _demand(args.expect, result)
    return result.exit_code


def guarded(command: Callable[[], int]) -> int:
    """The answer for git to what ``command`` returns, whatever happens in it.

    git takes any code from 1 to 127, but 125, for a bad kernel. So nothing but a verdict may end
    with one: no usage error, and no traceback.
    """
    try:
        code = command()
    except Exception:
        traceback.print_exc()
        # What could not be written must not be tried again when Python ends, which would be 120.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = ExitCode.INFRA
    answer = translate(code)
    if answer == SKIP:
        print(f"shootdown: exit code {code} is {SKIP} for git: skip", file=sys.stderr, flush=True)
    return answer


def translate(code: int) -> int:
    """Our exit code as git's: verdicts stay, a signal ends the bisection, all else is skipped."""
    return code if code in (ExitCode.PASS, ExitCode.VIOLATION) or code >= STOP else SKIP


def _planned(args: argparse.Namespace) -> Experiment:
    """The experiment, as far as it can be known to be right before anything is built."""
    if args.dry_run:
        raise UsageError("--dry-run checks nothing; use `shootdown run --dry-run`")
    if args.expect and args.expect not in (known := [rule.id for rule in RULES]):
        raise UsageError(f"no rule is called {args.expect!r}{nearest(args.expect, known)}")
    if args.kernel is None and args.plan is None:
        args.kernel = _HERE
    experiment = given.the_experiment(args)
    if source.named(experiment.kernel):
        raise UsageError(
            f"{experiment.kernel} is the same kernel at every commit; name what the tree builds"
        )
    profile = experiment.profile if args.arch else ""  # it belongs to an architecture
    record.validate(replace(experiment, kernel=options.DEFAULT.kernel, profile=profile))
    return experiment


def _found(args: argparse.Namespace) -> Experiment:
    """The experiment with the kernel that is there now, and for its architecture."""
    experiment = given.the_experiment(args)
    source.validate(experiment.kernel, arch.get(experiment.arch))
    if args.arch or args.plan:
        return experiment
    (name,) = source.architectures(experiment.kernel, cache_root())
    return replace(experiment, arch=name)


def _build(command: str) -> None:
    """Run a shell command in a process group that ends with us; what it prints goes to stderr."""
    with subprocess.Popen(
        command,
        shell=True,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr.fileno(),
        process_group=0,
    ) as shell:
        try:
            status = shell.wait()
        except BaseException:
            os.killpg(shell.pid, signal.SIGTERM)
            raise
    if status:
        how = f"was ended by signal {-status}" if status < 0 else f"ended with {status}"
        raise SkippedError(f"the build {how}: {command}; nothing of this commit was run")


def _commit() -> str:
    """The short name of the commit that is checked out; empty outside a repository."""
    words = ["git", "rev-parse", "--short", "HEAD"]
    try:
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _demand(rule: str, result: Result) -> None:
    """Raise InconclusiveError when the verdict is not about the rule."""
    about = result.rules.get(rule)
    if about is None or not about.armed:
        raise InconclusiveError(f"{rule} was not armed; see report.txt, or choose --policy glisse")
    broken = any(found.rule == rule and found.complete for found in result.violations)
    if result.exit_code == ExitCode.VIOLATION and not broken:
        others = sorted({found.rule for found in result.violations} - {rule})
        raise InconclusiveError(f"not {rule} was broken, but {', '.join(others)}")
    if result.exit_code == ExitCode.PASS and not about.exercised:
        raise InconclusiveError(f"{rule} was not exercised; choose another --workload")
