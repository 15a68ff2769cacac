"""shootdown shrink: find the fewest and shortest holds that still give a violation

SAVED is a run directory of a race that found a violation, or a finding.toml from one. What is found
is run again, with other seeds, and written to finding.toml in the new directory. Exit code 0: the
smaller plan gives the violation; 8: it does not come back.
"""

from __future__ import annotations

import argparse

from shootdown.cli import given, options
from shootdown.cli.replay import add_saved, the_finding
from shootdown.errors import ExitCode, UsageError
from shootdown.race import finding, reduce, trial, words
from shootdown.race.shrink import TRIES, shrink
from shootdown.run import directory

COUNT = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_saved(parser, COUNT, "fresh trials of the result")
    parser.add_argument(
        "--tries",
        type=options.number,
        default=TRIES,
        metavar="N",
        help=f"trials that a smaller plan must not fail (default: {TRIES})",
    )
    options.add_json(parser)


def execute(args: argparse.Namespace) -> int:
    """Shrink, write the smaller plan, say it in words."""
    found = the_finding(args)
    if args.tries < 1:
        raise UsageError(f"--tries is {args.tries}; it must be at least 1")
    if found.plan is None:
        raise UsageError(f"{args.saved} has no holds, so there is nothing to shrink")
    out = given.the_directory(args, "shrink", room=trial.ROOM_BYTES)
    done = shrink(found, args.count, out.path, given.progress(), tries=args.tries)
    path = out.path / finding.NAME
    finding.save(done.finding, path)
    code = ExitCode.PASS if done.verified.hits else ExitCode.NOT_REPRODUCED
    text = words.needs(done.finding.plan)
    holds = reduce.size(done.finding.plan)[0] if done.finding.plan else 0
    value = {
        **{"exit_code": int(code), "directory": str(out.path), "finding": str(path)},
        **{"holds": holds, "words": text, "tried": done.tried},
        **{"verified": done.verified.to_json()},
    }
    directory.write_json(out.path / "shrink.json", value)
    lines = [f"{done.verified.expected} {text}", f"  {done.verified}", f"  shootdown replay {path}"]
    given.emit(args, value, "\n".join(lines) + "\n")
    return code
