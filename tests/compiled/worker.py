"""What a process with the compiled checker does: checks what it is given."""

from dataclasses import dataclass

import numpy as np

from shootdown import compiled

USED = compiled.use()

from shootdown.model.machine import Machine  # noqa: E402  not before `use`
from shootdown.model.stream import Event  # noqa: E402
from shootdown.rules.check import CheckReport, check, policy_of  # noqa: E402
from shootdown.rules.feed import FAST, Feed, How  # noqa: E402
from shootdown.rules.panel import Panel  # noqa: E402


@dataclass(frozen=True)
class Job:
    """A trace to check, and how."""

    arch: str
    array: np.ndarray
    policy: str = "wilcox"
    how: How = FAST

    def events(self) -> np.ndarray:
        return self.array


def run(job: Job) -> CheckReport | str:
    """The report; of what cannot be checked, the name of the error."""
    try:
        return check(job, job.policy, how=job.how)
    except Exception as error:  # whatever it is, the other checker has to say it too
        return type(error).__name__


def run_compiled(job: Job) -> CheckReport | str:
    """The same, by the compiled checker."""
    assert USED and not hasattr(Event.__init__, "__code__")
    return run(job)


def looked_ahead(job: Job) -> tuple[frozenset[int], frozenset[int]]:
    """Of which kinds all events are in memory for the rules that judge such a trace, and the
    functions whose calls are told of.
    """
    machine = Machine(job.arch)
    _, scene = Feed(job).survey(job.arch, policy_of(job.policy))
    Panel(machine, scene.policy, lambda rule: rule.idle(scene))
    return frozenset(map(int, machine.history)), machine.functions


def looked_ahead_compiled(job: Job) -> tuple[frozenset[int], frozenset[int]]:
    """The same, by the compiled checker."""
    assert USED
    return looked_ahead(job)
