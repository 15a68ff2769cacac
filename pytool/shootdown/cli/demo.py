"""shootdown demo: see a race that was forced, and what is said of it

A recording that comes with the tool is checked and reported; neither QEMU nor a kernel is needed.
The kernel's flush was taken out, so the demonstration is a success when it is a violation.
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import ExitStack
from pathlib import Path

from shootdown.cli import given, options
from shootdown.demo import bundle
from shootdown.errors import ExitCode, InfraError
from shootdown.race import plan_file, trial
from shootdown.report.result import Result
from shootdown.report.text import render
from shootdown.run import checkstage, directory, reportstage
from shootdown.run.directory import RunDir
from shootdown.run.experiment import Experiment


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--live", action="store_true", help="force the race anew, in a guest under QEMU"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="keep the run directory there (new)"
    )
    options.add_json(parser)


def execute(args: argparse.Namespace) -> int:
    """Show it; 0 when the violation was found. Raises InfraError when it was not."""
    with ExitStack() as stack:
        out = args.out or Path(stack.enter_context(tempfile.TemporaryDirectory())) / "run"
        run = directory.create(out, trial.ROOM_BYTES)
        result = _live(run) if args.live else _recorded(run)
        given.emit(args, result.to_json(), f"{_story(run)}\n\n{render(result)}")
    if result.exit_code != ExitCode.VIOLATION:
        raise InfraError(f"the violation was not found: {result.reasons[0]}")
    return ExitCode.PASS


def _recorded(run: RunDir) -> Result:
    bundle.unpack(run)
    result = checkstage.check(run, given.progress())
    reportstage.write(run, result)
    return result


def _live(run: RunDir) -> Result:
    tell = given.progress()
    experiment = Experiment("x86_64", mutate=bundle.MUTATION, mem=bundle.MEM_MIB)
    staged = trial.stage(plan_file.load(bundle.PLAN), experiment, tell)
    return trial.trial(staged, run, tell, seed=1, reproduce="shootdown demo --live")


def _story(run: RunDir) -> str:
    (hold,) = plan_file.load(run.race).holds
    steps = "\n".join(f"    {number}. {step}" for number, step in enumerate(hold.until, 1))
    return (
        "One thread replaces a page with mmap(MAP_FIXED), another reads it. The kernel's function\n"
        "flush_tlb_mm_range() was made to return at once. The schedule:\n\n"
        f"    hold {hold.point}, until\n{steps}"
    )
