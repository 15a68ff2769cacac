"""``@race``: a function that describes a schedule becomes a race."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from shootdown import arch as architectures
from shootdown.race.points import Plan
from shootdown.race.script import Script

Function = Callable[[Script], None]


@dataclass(frozen=True)
class Race:
    """A race by name, and the function that describes its schedule."""

    function: Function = field(repr=False)
    workload: str
    arch: tuple[str, ...]
    """Names of the architectures it makes sense on."""
    repeat: int
    iterations: int
    smp: int
    options: str = ""
    swap: int = 0
    disk: int = 0
    events: str = ""

    @property
    def name(self) -> str:
        """The function's name."""
        return getattr(self.function, "__name__", "race")

    @property
    def about(self) -> str:
        """The first line of the function's documentation."""
        return (self.function.__doc__ or "").strip().partition("\n")[0]

    def plan(self) -> Plan:
        """What the function describes; it is called for that. Raises UsageError."""
        script = Script()
        self.function(script)
        return Plan(
            name=self.name,
            workload=self.workload,
            holds=script.holds(),
            repeat=self.repeat,
            iterations=self.iterations,
            smp=self.smp,
            options=self.options,
            swap=self.swap,
            disk=self.disk,
            events=self.events,
        )


def race(
    *,
    workload: str,
    arch: Sequence[str] = (),
    repeat: int = 1,
    iterations: int = 20,
    smp: int = 3,
    options: str = "",
    swap: int = 0,
    disk: int = 0,
    events: str = "",
) -> Callable[[Function], Race]:
    """Make a race of a function that takes a Script.

    ``workload``: one of ``guest/workloads``; it takes ``iterations`` steps on ``smp`` vCPUs, and
    the holds are done ``repeat`` times. ``arch``: empty is all. ``options``: of the workload,
    ``KEY=VALUE`` with commas between. ``swap``, ``disk``: MiB that the guest gets. ``events``:
    groups of events that are recorded. Raises UsageError for others.
    """
    names = tuple(architectures.get(name).name for name in arch) or architectures.names()

    def make(function: Function) -> Race:
        return Race(function, workload, names, repeat, iterations, smp, options, swap, disk, events)

    return make
