"""What the options that several commands share say, and what they ask to be printed."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Final

from shootdown import arch
from shootdown.cli.options import DEFAULT
from shootdown.errors import UsageError
from shootdown.report import ktap
from shootdown.report.result import Result
from shootdown.report.text import render
from shootdown.run import directory, experiment, record, source
from shootdown.run.experiment import Experiment

RUNS: Final = Path("runs")
"""Where run directories go when --out is not given."""


def show(args: argparse.Namespace, result: Result) -> None:
    """Print what --format and --json ask for."""
    tap = args.format == "ktap"
    text = ktap.document([ktap.from_result(result)]) if tap else render(result)
    emit(args, result.to_json(), text)


def emit(args: argparse.Namespace, value: object, text: str) -> None:
    """Print ``text``, or ``value`` as JSON where --json asks for it."""
    document = json.dumps(value, indent=1) + "\n"
    if args.json == "-":
        text = document
    elif args.json:
        directory.write_text(Path(args.json), document)
    print(text, end="")


def the_experiment(args: argparse.Namespace) -> Experiment:
    """The experiment that the options, over a plan or the defaults, describe."""
    names = {field.name for field in fields(Experiment)} - {"command"}
    given = {
        name: value for name, value in vars(args).items() if name in names and value is not None
    }
    if args.command:
        given["command"] = a_command(args.command)
    if given.get("deterministic"):
        given.setdefault("thread", "single")
    base = experiment.load(args.plan) if args.plan else DEFAULT
    value = Experiment(**{**vars(base), **given})
    if "mem" not in given and not args.plan:
        value = replace(value, mem=max(value.mem, source.needed_mem(value.kernel)))
    return replace(
        value,
        arch=arch.get(value.arch).name,
        kernel=absolute(value.kernel),
        rootfs=absolute(value.rootfs),
        inject=absolute(value.inject) if value.inject.endswith(".toml") else value.inject,
    )


def absolute(path: str) -> str:
    """A path that means the same in another directory; what is no path here is left as it is."""
    found = Path(path).expanduser()
    return str(found.resolve()) if path and found.exists() else path


def a_command(words: tuple[str, ...]) -> tuple[str, ...]:
    """The guest's command; raises UsageError when its program is not here."""
    if not words[0]:
        raise UsageError("nothing stands behind --; name a static program and its arguments")
    program = Path(words[0])
    if not program.is_file():
        raise UsageError(f"program {program} does not exist; name a static program of this host")
    return (str(program.resolve()), *words[1:])


def the_directory(
    args: argparse.Namespace, name: str, room: int = directory.ROOM_BYTES
) -> directory.RunDir:
    """The new run directory that --out names, or a numbered one, with ``room`` bytes free."""
    if args.out:
        return directory.create(args.out, room)
    return directory.create_numbered(RUNS, name, room)


@dataclass(frozen=True)
class Opened:
    """What a command that records begins with."""

    experiment: Experiment
    run: directory.RunDir
    tell: Callable[[str], None]


def opened(args: argparse.Namespace) -> Opened | None:
    """The experiment and its new run directory; None where --dry-run has printed all there is.

    Raises UsageError before anything is done or written.
    """
    described, tell = the_experiment(args), progress()
    if args.dry_run:
        print(record.dry_run(described, tell))
        return None
    record.validate(described)
    return Opened(described, the_directory(args, described.arch), tell)


def progress(prefix: str = "") -> Callable[[str], None]:
    """A function that tells people what goes on, on stderr, a line each."""

    def tell(text: str) -> None:
        print(f"{prefix}{text}", file=sys.stderr, flush=True)

    return tell
