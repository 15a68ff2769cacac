"""What of an experiment is delayed: a policy's choice, or a file; found before the guest starts."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from shootdown.errors import UsageError
from shootdown.kernel.facts import KernelFacts
from shootdown.race import delays, delays_file, policies
from shootdown.race.delays import Delays
from shootdown.race.stage import SPECS
from shootdown.run import directory
from shootdown.run.directory import RunDir
from shootdown.run.experiment import Experiment

SUFFIX: Final = ".toml"


def validate(experiment: Experiment) -> None:
    """Raise UsageError when the delays are unknown, or cannot be in such a run."""
    wanted = experiment.inject
    if not wanted:
        return
    if not wanted.endswith(SUFFIX):
        policies.named(wanted)
    else:
        delays_file.load(Path(wanted))
    if experiment.thread != "multi":
        raise UsageError(
            f"--inject {wanted} needs --thread multi: with one thread for all vCPUs a delay "
            "stops every one of them"
        )
    if not experiment.plugin:
        raise UsageError(f"--inject {wanted} needs the plugin, which makes the delays")


def choose(experiment: Experiment, facts: KernelFacts) -> Delays:
    """The delays of an experiment that has some. Raises UsageError as ``validate``."""
    validate(experiment)
    if experiment.inject.endswith(SUFFIX):
        return delays_file.load(Path(experiment.inject))
    subject = policies.subject(
        facts,
        SPECS[experiment.arch],
        seed=experiment.seed,
        smp=experiment.smp,
        iterations=experiment.iterations_of(experiment.workloads),
    )
    return policies.named(experiment.inject).choose(subject)


def write(experiment: Experiment, facts: KernelFacts, run: RunDir) -> str:
    """Write the delays into the run directory; returns what the plugin's plan says of them.

    Raises UsageError as ``choose``, or for a point that the kernel does not have.
    """
    plan = choose(experiment, facts)
    directory.write_text(run.delays, delays_file.to_toml(plan))
    made = delays.lines(plan, facts, SPECS[experiment.arch], experiment.seed)
    return "".join(f"{line}\n" for line in made)
