"""shootdown replay: run a saved trial again and count how often its violation comes back

SAVED is a run directory, of a race or of any run that found a violation, or a finding.toml from
one. A violation is the same when rule and site are. Exit code 0: it came back at least once;
8: never.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from shootdown.cli import given, options
from shootdown.errors import ExitCode, UsageError
from shootdown.race import finding, trial
from shootdown.race.finding import Finding
from shootdown.race.replay import Replayed, replay
from shootdown.run import directory, record

COUNT = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_saved(parser, COUNT, "trials")
    options.add_json(parser)


def add_saved(parser: argparse.ArgumentParser, count: int, what: str) -> None:
    """Which finding, and what is different now."""
    parser.add_argument("saved", type=Path, metavar="SAVED", help="run directory or finding.toml")
    parser.add_argument(
        "-n", dest="count", type=options.number, default=count, help=f"{what} (default: {count})"
    )
    parser.add_argument("--rule", metavar="RULE", help="look for the violation of this rule")
    parser.add_argument("--kernel", metavar="SPEC", help="another kernel than the saved one")
    options.add_snapshot(parser)
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="new directory (default: runs/NNNN-...)"
    )


def the_finding(args: argparse.Namespace) -> Finding:
    """What the options describe. Raises UsageError."""
    if args.command:
        raise UsageError("a finding takes no guest command; it says what runs")
    if args.count < 1:
        raise UsageError(f"-n is {args.count}; it must be at least 1")
    found = finding.load(args.saved)
    other = {
        key: value for key in ("kernel", "snapshot") if (value := getattr(args, key)) is not None
    }
    if "kernel" in other:
        other["kernel"] = given.absolute(other["kernel"])
    found = replace(found, experiment=replace(found.experiment, **other))
    record.validate(found.experiment)
    return found.looking_for(args.rule) if args.rule else found


def execute(args: argparse.Namespace) -> int:
    """Run the trials, print what came of them."""
    found = the_finding(args)
    out = given.the_directory(args, "replay", room=trial.ROOM_BYTES)
    done = replay(found, args.count, out.path, given.progress())
    code = ExitCode.PASS if done.hits else ExitCode.NOT_REPRODUCED
    value = {"exit_code": int(code), "directory": str(out.path), **done.to_json()}
    directory.write_json(out.path / "replay.json", value)
    given.emit(args, value, _text(done))
    return code


def _text(done: Replayed) -> str:
    lines = [str(done)]
    exact = sum(one.exact for one in done.seen)
    if done.hits:
        lines.append(f"  the same fingerprint ({done.expected.fingerprint}) in {exact} of them")
    for other, count in sorted(done.to_json()["others"].items()):
        lines.append(f"  besides: {other} in {count} of {done.trials}")
    reasons = sorted({one.reason for one in done.seen if not one.same})
    lines += [f"  without it: {reason}" for reason in reasons[:3]]
    return "\n".join(lines) + "\n"
