"""shootdown ci: check a kernel on every architecture with every workload

What `make check-guest` runs once set-up is done. Each architecture is a run of its own below
--out; nested KTAP goes to stdout, progress to stderr.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Final

from shootdown import arch
from shootdown.arch import profiles
from shootdown.cli import options
from shootdown.errors import ExitCode, ShootdownError, UsageError
from shootdown.kernel.cache import cache_root
from shootdown.report import ktap
from shootdown.report.result import SCHEMA, VERDICTS, Result, load
from shootdown.run import directory, record, source
from shootdown.run.experiment import Experiment

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
    *("kernel", "workloads", "iterations", "seed", "timeout", "policy", "profile", "mutate"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    options.add_kernel(parser)
    parser.add_argument(
        "--arch",
        help=f"{', '.join(arch.names())} or all (default: the image's, all for debian:VERSION)",
    )
    options.add_workload(parser)
    options.add_effort(parser)
    options.add_policy(parser)
    options.add_profile(parser)
    options.add_mutate(parser)
    parser.add_argument(
        "--jobs",
        type=options.number,
        default=min(os.cpu_count() or 1, len(arch.names())),
        metavar="N",
        help="architectures run side by side (default: one for each CPU)",
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
    names = tuple(name for name in every if name not in skipped)
    for name in names:
        record.validate(_experiment(args, name))
    out = options.the_directory(args, "ci", room=0).path
    for name, why in skipped.items():
        print(f"{name}: skipped: {why}", file=sys.stderr)
    codes = asyncio.run(_run_all(args, names, out))
    cases = [
        ktap.not_run(name, skipped[name])
        if name in skipped
        else _case(name, out / name, codes[name])
        for name in every
    ]
    document = ktap.document(cases)
    directory.write_text(out / "ktap.txt", document)
    code = gravest(list(codes.values()))
    words = ", ".join(f"{n} {_word(codes.get(n, ExitCode.SKIPPED))}" for n in every)
    runs = {name: directory.read_json(out / name / "result.json") for name in names}
    value = {"schema": SCHEMA, "exit_code": code, "directory": str(out), "runs": runs}
    value |= {"skipped": skipped} if skipped else {}
    options.emit(args, value, f"{document}# {words}; reports in {out}\n")
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
    if args.arch is None and args.kernel and not args.kernel.startswith("debian:"):
        return (source.architecture(args.kernel, cache_root()),)
    return arch.names()


def _skipped(args: argparse.Namespace, names: tuple[str, ...]) -> dict[str, str]:
    """Architectures that do not have the profiles, and why; none where no other is left."""
    found = {
        name: f"no profile {', '.join(lacks)}"
        for name in names
        if (lacks := profiles.lacking(arch.get(name), args.profile or ""))
    }
    return found if len(found) < len(names) else {}


def _experiment(args: argparse.Namespace, name: str) -> Experiment:
    given = {key: getattr(args, key) for key in PASSED_ON if getattr(args, key) is not None}
    return Experiment(name, **given)


def _word(code: int) -> str:
    return VERDICTS.get(ExitCode(code), "skipped") if code in list(ExitCode) else f"exit {code}"


def _case(name: str, run: Path, code: int) -> ktap.Case:
    try:
        result: Result = load(run / "result.json")
    except ShootdownError:
        return ktap.failed_to_run(name, f"no result, exit {code}; see {run}")
    return ktap.from_result(result)


async def _run_all(args: argparse.Namespace, names: tuple[str, ...], out: Path) -> dict[str, int]:
    slots = asyncio.Semaphore(args.jobs)

    async def one(name: str) -> int:
        async with slots:
            return await _run_one(args, name, out / name)

    codes = await asyncio.gather(*(one(name) for name in names))
    return dict(zip(names, codes, strict=True))


async def _run_one(args: argparse.Namespace, name: str, out: Path) -> int:
    # A process each: checking is Python's work on one CPU, and a failure stays with its run.
    words = [sys.executable, "-m", "shootdown.cli", "run", f"--arch={name}", f"--out={out}"]
    for key in PASSED_ON:
        value = getattr(args, key)
        if value is not None:
            words.append(f"--{'workload' if key == 'workloads' else key}={value}")
    process = await asyncio.create_subprocess_exec(
        *words, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE, process_group=0
    )
    try:
        assert process.stderr is not None
        async for line in process.stderr:
            print(f"{name}: {line.decode(errors='replace')}", end="", file=sys.stderr, flush=True)
        return await process.wait()
    except asyncio.CancelledError:
        # The run ends its guest in order and leaves a directory that can be checked.
        process.send_signal(signal.SIGTERM)
        await process.wait()
        raise
