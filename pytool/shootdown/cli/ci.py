"""shootdown ci: check a kernel on every architecture with every workload

What `make check-guest` runs once set-up is done. Each architecture is a run of its own below
--out, and with --load each stressor on each architecture; nested KTAP goes to stdout, progress to
stderr. A stressor that cannot run, or that gives no rule anything to judge, is said to be skipped.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from shootdown import arch
from shootdown.arch import profiles
from shootdown.cli import given, options
from shootdown.errors import ExitCode, ShootdownError, UsageError
from shootdown.kernel.cache import cache_root
from shootdown.loads import stress_ng
from shootdown.report import ktap
from shootdown.report.result import SCHEMA, VERDICTS, Result, load
from shootdown.run import directory, record, source
from shootdown.run.experiment import Experiment
from shootdown.run.verdict import inapplicable

GRAVEST_FIRST: Final = (
    ExitCode.INFRA,
    ExitCode.USAGE,
    ExitCode.VIOLATION,
    ExitCode.CRASH,
    ExitCode.TIMEOUT,
    ExitCode.INCONCLUSIVE,
    ExitCode.NOT_REPRODUCED,
)
PASSED_ON: Final = (
    *("kernel", "workloads", "iterations", "seed", "timeout", "policy", "bbm", "profile", "mutate"),
)


LOADED: Final = tuple(key for key in PASSED_ON if key not in ("workloads", "iterations"))
"""What of it concerns a load."""


@dataclass(frozen=True)
class Job:
    """One run: the workloads of an architecture, or one load (``stress-ng:NAME``)."""

    arch: str
    load: str = ""

    @property
    def name(self) -> str:
        """Name of its result line, its directory below --out, and its key in the JSON."""
        return f"{self.arch}-{self.load.rpartition(':')[2]}" if self.load else self.arch


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    options.add_kernel(parser)
    parser.add_argument(
        "--arch",
        help=f"{', '.join(arch.names())} or all (default: the image's, all for a name)",
    )
    options.add_workload(parser)
    options.add_load(parser)
    options.add_effort(parser)
    options.add_policy(parser)
    options.add_bbm(parser)
    options.add_profile(parser)
    options.add_mutate(parser)
    parser.add_argument(
        "--jobs",
        type=options.number,
        default=min(os.cpu_count() or 1, len(arch.names())),
        metavar="N",
        help="runs side by side (default: one for each CPU)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="new directory (default: runs/NNNN-ci)"
    )
    options.add_json(parser)


def execute(args: argparse.Namespace) -> int:
    """Run everything, print KTAP and one plain line, return the gravest exit code."""
    if args.command:
        raise UsageError("ci takes no guest command; use `shootdown run -- PROGRAM`")
    if args.jobs < 1:
        raise UsageError(f"--jobs is {args.jobs}; it must be at least 1")
    every = _architectures(args)
    skipped = _skipped(args, every)
    jobs = _jobs(args, tuple(name for name in every if name not in skipped))
    for job in jobs:
        record.validate(_experiment(args, job))
    out = given.the_directory(args, "ci", room=0).path
    for name, why in skipped.items():
        print(f"{name}: skipped: {why}", file=sys.stderr)
    ended = asyncio.run(_run_all(args, jobs, out))
    codes = {job: _weigh(job, out / job.name, code) for job, code in ended.items()}
    cases = [_case(job, out / job.name, codes[job]) for job in jobs]
    cases += [ktap.not_run(name, why) for name, why in skipped.items()]
    document = ktap.document(cases)
    directory.write_text(out / "ktap.txt", document)
    code = gravest(list(codes.values()))
    words = ", ".join(
        [f"{job.name} {_word(codes[job])}" for job in jobs]
        + [f"{name} {_word(ExitCode.SKIPPED)}" for name in skipped]
    )
    runs = {job.name: directory.read_json(out / job.name / "result.json") for job in jobs}
    value = {"schema": SCHEMA, "exit_code": code, "directory": str(out), "runs": runs}
    value |= {"skipped": skipped} if skipped else {}
    given.emit(args, value, f"{document}# {words}; reports in {out}\n")
    return code


def gravest(codes: list[int]) -> int:
    """The exit code of several runs: the first of the documented precedence that occurs."""
    for code in GRAVEST_FIRST:
        if code in codes:
            return code
    unknown = [code for code in codes if code not in list(ExitCode)]
    if unknown:
        return unknown[0]
    passed = ExitCode.PASS in codes or not codes
    return ExitCode.PASS if passed else ExitCode.SKIPPED


def _architectures(args: argparse.Namespace) -> tuple[str, ...]:
    if args.arch not in (None, "all"):
        return (arch.get(args.arch).name,)
    if args.arch is None and args.kernel:
        return source.architectures(args.kernel, cache_root())
    return arch.names()


def _skipped(args: argparse.Namespace, names: tuple[str, ...]) -> dict[str, str]:
    """Architectures that do not have the profiles, and why; none where no other is left."""
    found = {
        name: f"no profile {', '.join(lacks)}"
        for name in names
        if (lacks := profiles.lacking(arch.get(name), args.profile or ""))
    }
    return found if len(found) < len(names) else {}


def _jobs(args: argparse.Namespace, names: tuple[str, ...]) -> list[Job]:
    """The workloads of every architecture, then every load on every architecture."""
    loads = [
        Job(name, f"{stress_ng.PACKAGE}:{load}")
        for name in names
        for load in (stress_ng.choose(args.load, name) if args.load else ())
    ]
    return [Job(name) for name in names] + loads


def _options(args: argparse.Namespace, job: Job) -> dict[str, Any]:
    """The fields of the experiment that a job's run is given."""
    keys = (*LOADED, "seconds") if job.load else PASSED_ON
    given = {key: getattr(args, key) for key in keys if getattr(args, key) is not None}
    return {**given, "load": job.load} if job.load else given


def _experiment(args: argparse.Namespace, job: Job) -> Experiment:
    return replace(Experiment(job.arch), **_options(args, job))


def _weigh(job: Job, run: Path, code: int) -> int:
    """The exit code that counts: a load that gave nothing to judge is skipped."""
    try:
        reasons = load(run / "result.json").reasons
    except ShootdownError:
        return code
    return ExitCode.SKIPPED if job.load and inapplicable(code, reasons) else code


def _word(code: int) -> str:
    return VERDICTS.get(ExitCode(code), "skipped") if code in list(ExitCode) else f"exit {code}"


def _case(job: Job, run: Path, code: int) -> ktap.Case:
    try:
        result: Result = load(run / "result.json")
    except ShootdownError:
        return ktap.failed_to_run(job.name, f"no result, exit {code}; see {run}")
    if code == ExitCode.SKIPPED:
        result = replace(result, exit_code=code)
    return replace(ktap.from_result(result), name=job.name)


async def _run_all(args: argparse.Namespace, jobs: list[Job], out: Path) -> dict[Job, int]:
    slots = asyncio.Semaphore(args.jobs)

    async def one(job: Job) -> int:
        async with slots:
            return await _run_one(args, job, out / job.name)

    codes = await asyncio.gather(*(one(job) for job in jobs))
    return dict(zip(jobs, codes, strict=True))


async def _run_one(args: argparse.Namespace, job: Job, out: Path) -> int:
    # A process each: checking is Python's work on one CPU, and a failure stays with its run.
    words = [sys.executable, "-m", "shootdown.cli", "run", f"--arch={job.arch}", f"--out={out}"]
    for key, value in _options(args, job).items():
        words.append(f"--{'workload' if key == 'workloads' else key}={value}")
    process = await asyncio.create_subprocess_exec(
        *words, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE, process_group=0
    )
    try:
        assert process.stderr is not None
        async for line in process.stderr:
            print(
                f"{job.name}: {line.decode(errors='replace')}", end="", file=sys.stderr, flush=True
            )
        return await process.wait()
    except asyncio.CancelledError:
        # The run ends its guest in order and leaves a directory that can be checked.
        process.send_signal(signal.SIGTERM)
        await process.wait()
        raise
