"""Runs in which nothing but the experiment decides what happens to the guest.

One thread runs all vCPUs in turn and the guest's clock counts instructions (``vm.command.ICOUNT``).
Random numbers come from the seed, the date is fixed. What is left is when the host speaks to the
guest: so it does not; the guest is started with its commands.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from shootdown.errors import UsageError
from shootdown.run import artifacts, session
from shootdown.run.experiment import Experiment

FILE: Final = "/commands"
"""Where the guest's agent finds them."""


def validate(experiment: Experiment) -> None:
    """Raise UsageError for what would let the host decide."""
    if not experiment.deterministic:
        return
    if experiment.thread != "single":
        raise UsageError("--deterministic needs --thread single: threads race on the host")
    if experiment.snapshot != "off":
        raise UsageError("--deterministic needs --snapshot off: a guest is given its commands once")
    if experiment.load:
        raise UsageError("--deterministic runs workloads or a program, and no --load")


def workloads(experiment: Experiment) -> list[str]:
    """Workloads that will run; raises UsageError when the experiment's pattern finds none."""
    return session.choose(experiment.workloads, artifacts.workload_names())


def commands(experiment: Experiment) -> tuple[str, ...]:
    """What the guest is started with; nothing for other experiments."""
    if not experiment.deterministic:
        return ()
    if experiment.command:
        return (
            " ".join(("exec", session.guest_path(experiment.command), *experiment.command[1:])),
        )
    return tuple(
        f"run {name} {experiment.iterations_of(name)} {experiment.seed}"
        for name in workloads(experiment)
    )


def files(lines: tuple[str, ...], scratch: Path) -> list[tuple[str, Path]]:
    """The guest's file with the commands, written below ``scratch``; none for no commands."""
    if not lines:
        return []
    path = scratch / "commands"
    path.write_text("".join(f"{line}\n" for line in lines))
    return [(FILE, path)]
