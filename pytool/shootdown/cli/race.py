"""shootdown race: force a race, by holding vCPUs where a plan says

RACE is MODULE or MODULE::NAME of the library (see --list), FILE.py or FILE.py::NAME, or a plan,
FILE.toml. A trial is one guest; its seed is --seed plus the trials before it. Each prints the line
that repeats it.
"""

from __future__ import annotations

import argparse
import shlex
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from shootdown import arch
from shootdown.cli import given, options
from shootdown.cli.ci import gravest
from shootdown.errors import ExitCode, ShootdownError, UsageError
from shootdown.race import find, finding, trial
from shootdown.race.find import Found
from shootdown.race.trial import Staged
from shootdown.report.result import Result
from shootdown.report.text import render
from shootdown.run import directory
from shootdown.run.experiment import Experiment


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("race", nargs="?", metavar="RACE", help="what is forced")
    parser.add_argument("--list", action="store_true", help="list the library and stop")
    options.add_kernel(parser)
    parser.add_argument(
        "--arch", help=f"{', '.join(arch.names())} or all (default: {options.DEFAULT.arch})"
    )
    parser.add_argument("--trials", type=options.number, default=1, metavar="N", help="guests")
    for name, what in (
        ("seed", "seed of the first trial"),
        ("mem", "RAM in MiB"),
        ("timeout", "seconds for each workload"),
    ):
        default = getattr(options.DEFAULT, name)
        text = f"{what} (default: {default})"
        parser.add_argument(f"--{name}", type=options.number, metavar="N", help=text)
    options.add_profile(parser)
    options.add_mutate(parser)
    options.add_snapshot(parser)
    parser.add_argument("--append", metavar="ARGS", help="more kernel arguments")
    options.add_policy(parser)
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="new directory (default: runs/NNNN-race)"
    )
    options.add_json(parser)


def execute(args: argparse.Namespace) -> int:
    """Run every trial, print each one's end, and return the gravest exit code."""
    if args.command:
        raise UsageError("race takes no guest command; a race says its workload")
    if args.list:
        return _list(args)
    if not args.race:
        raise UsageError("name a race; `shootdown race --list` shows those of the library")
    if args.trials < 1:
        raise UsageError(f"--trials is {args.trials}; it must be at least 1")
    pairs = [(race, name) for race in find.find(args.race) for name in _architectures(args, race)]
    tell = given.progress()
    ready = [(race, trial.stage(race.plan, _experiment(args, name), tell)) for race, name in pairs]
    out = given.the_directory(args, "race", room=trial.ROOM_BYTES)
    done = [
        one for race, staged in ready for one in _trials(args, race, staged, out.path) if one.run
    ]
    code = gravest([one.code for one in done]) if done else ExitCode.SKIPPED
    value = {"exit_code": code, "directory": str(out.path), "trials": [o.to_json() for o in done]}
    given.emit(args, value, _summary(done, args.trials))
    return code


@dataclass(frozen=True)
class _Trial:
    # How one trial ended.
    call: str
    arch: str
    seed: int
    run: Path
    reproduce: str
    code: int
    result: Result | None

    def to_json(self) -> dict[str, Any]:
        value = {
            **{"race": self.call, "arch": self.arch, "seed": self.seed},
            **{"directory": str(self.run), "exit_code": self.code, "reproduce": self.reproduce},
        }
        if self.result:
            value["holds"] = self.result.holds
            value["rules"] = sorted({v.rule for v in self.result.violations})
        return value


def _list(args: argparse.Namespace) -> int:
    known = find.library()
    width = max(len(race.call) for race in known)
    lines = [f"{race.call:{width}}  {race.about} ({', '.join(race.arch)})\n" for race in known]
    value = [{"race": r.call, "about": r.about, "arch": list(r.arch)} for r in known]
    given.emit(args, value, "".join(lines))
    return ExitCode.PASS


def _architectures(args: argparse.Namespace, race: Found) -> tuple[str, ...]:
    if args.arch == "all":
        return race.arch
    name = arch.get(args.arch or options.DEFAULT.arch).name
    return (name,) if name in race.arch else ()


def _experiment(args: argparse.Namespace, name: str) -> Experiment:
    known = {field.name for field in fields(Experiment)} - {"command", "arch", "seed"}
    given = {key: v for key, v in vars(args).items() if key in known and v is not None}
    if "kernel" in given and Path(given["kernel"]).exists():
        given["kernel"] = str(Path(given["kernel"]).resolve())
    return Experiment(name, **given)


def _trials(args: argparse.Namespace, race: Found, staged: Staged, out: Path) -> list[_Trial]:
    first = options.DEFAULT.seed if args.seed is None else args.seed
    name = race.plan.name
    return [
        _trial(race, staged, out / f"{name}-{staged.experiment.arch}-{seed}", seed)
        for seed in range(first, first + args.trials)
    ]


def _trial(race: Found, staged: Staged, path: Path, seed: int) -> _Trial:
    line = trial.command_line(race.call, staged.experiment, seed)
    run = directory.create(path, trial.ROOM_BYTES)
    result, code = None, 0
    try:
        result = trial.trial(
            staged, run, given.progress(f"{path.name}: "), seed=seed, reproduce=line
        )
        code = result.exit_code
    except ShootdownError as error:
        given.progress(f"{path.name}: ")(f"error: {error}")
        code = int(error.exit_code)
    return _Trial(race.call, staged.experiment.arch, seed, path, line, code, result)


def _summary(done: list[_Trial], trials: int) -> str:
    lines = []
    for one in done:
        lines.append(f"{_word(one)} {one.run.name}: {_told(one)}")
        lines.append(f"  {_again(one)}")
    violating = [one for one in done if one.code == ExitCode.VIOLATION]
    lines.append(f"{len(violating)} of {len(done)} trials violate a rule")
    if len(done) == 1 and done[0].result:
        lines = [render(done[0].result)]
        lines += [_again(one) for one in violating]
    return "\n".join(lines) + "\n"


def _word(one: _Trial) -> str:
    return one.result.verdict.upper() if one.result else "ERROR"


def _again(one: _Trial) -> str:
    if one.code == ExitCode.VIOLATION:
        return f"shootdown replay {shlex.quote(str(one.run / finding.NAME))}"
    return one.reproduce


def _told(one: _Trial) -> str:
    if one.result is None:
        return f"exit {one.code}"
    holds = one.result.holds
    return (
        f"{holds['fired']} of {holds['planned']} holds fired, {holds['timed_out']} timed out; "
        f"{one.result.reasons[0]}"
    )
