"""``r``: what a race's function speaks to. It executes nothing; it writes down a plan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from shootdown.errors import UsageError
from shootdown.race.points import BOUND_MS, Advance, Hold, Pause, Point, Step


@dataclass(frozen=True)
class Actor:
    """Somebody who may be held, or waited for; its methods make points."""

    thread: str = "*"
    cpu: int | None = None

    def pte_write(
        self,
        *,
        old: str = "any",
        new: str = "any",
        within: str = "",
        of: str = "window",
        nth: int = 1,
    ) -> Point:
        """A store that changes a page-table entry of level 1 from one class to another.

        ``old`` and ``new``: ``any``, ``none``, ``present``, ``readonly`` or ``writable``.
        ``within``: a system call or a kernel function; ``nth`` counts in each of its calls. ``of``:
        ``window`` for entries of what the workload declared, or ``any``.
        """
        return self._point("pte_write", "after", old=old, new=new, within=within, of=of, nth=nth)

    def flush(self, *, within: str = "", nth: int = 1) -> Point:
        """An instruction that invalidates TLB entries; x86-64: a load of CR3 too."""
        return self._point("flush", "before", within=within, nth=nth)

    def switches(self, *, within: str = "") -> Point:
        """The load of another address space's root, by whoever ran before."""
        return self._point("root_load", "after", within=within)

    def load(self, of: str = "page", *, nth: int = 1) -> Point:
        """A load of user mode from the ``page`` whose entry changed, or from the ``window``."""
        return self._point("load", "after", of=of, nth=nth)

    def store(self, of: str = "page", *, nth: int = 1) -> Point:
        """A store of user mode; see ``load``."""
        return self._point("store", "after", of=of, nth=nth)

    def enters(self, function: str, *, within: str = "", nth: int = 1) -> Point:
        """The first instruction of a kernel function, or of a system call by its name.

        Several names with ``|`` between: of those that the kernel has, any.
        """
        return self._point("enter", "before", function=function, within=within, nth=nth)

    def returns(self, function: str, *, nth: int = 1) -> Point:
        """The return of a kernel function or system call that it enters from here on."""
        return self._point("return", "before", function=function, nth=nth)

    def calls(self, function: str, *, inside: str = "", within: str = "", nth: int = 1) -> Point:
        """The call of a kernel function, where it is not inlined, by the function ``inside``."""
        return self._point(
            "call", "before", function=function, inside=inside, within=within, nth=nth
        )

    def _point(self, event: str, when: str, **fields: object) -> Point:
        return Point(event=event, when=when, thread=self.thread, cpu=self.cpu, **fields)  # type: ignore[arg-type]


class Script:
    """Collects the holds of one race, in the order in which its function asks for them."""

    def __init__(self) -> None:
        self._open: list[list[Step]] = [[]]

    def thread(self, name: str) -> Actor:
        """The thread of that name (a shell pattern), such as ``mapper`` or ``observer0``."""
        return Actor(thread=name)

    def cpu(self, number: int) -> Actor:
        """Whoever runs on a vCPU, from 0."""
        return Actor(cpu=number)

    def anybody(self) -> Actor:
        """Any thread on any vCPU."""
        return Actor()

    @contextmanager
    def hold(
        self,
        *,
        at: Point | None = None,
        after: Point | None = None,
        before: Point | None = None,
        bound_ms: int = BOUND_MS,
        infeasible: Sequence[str] = (),
    ) -> Iterator[None]:
        """Hold who reaches the point while the others do what the block says.

        Name the point by exactly one of ``at`` (where the point lies of itself), ``after`` and
        ``before``. After ``bound_ms`` milliseconds it is let go in any case; on the architectures
        ``infeasible`` that is what must happen. Raises UsageError.
        """
        given = [
            at,
            after and replace(after, when="after"),
            before and replace(before, when="before"),
        ]
        points = [point for point in given if point]
        if len(points) != 1:
            raise UsageError("hold() takes one of at=, after= and before=")
        self._open.append([])
        yield
        until = tuple(self._open.pop())
        self._open[-1].append(Hold(points[0], until, bound_ms, tuple(infeasible)))

    def run_until(self, point: Point) -> None:
        """Let everybody who is not held run until the point is reached; only in a hold."""
        self._step(point)

    def pause(self, ms: int) -> None:
        """Let everybody who is not held run for so many milliseconds; only in a hold."""
        self._step(Pause(ms))

    def advance(self, instructions: int = 1) -> None:
        """Let the vCPU that is held execute so many instructions, alone; only in a hold.

        In a hold ``before`` a point the first one is the point itself.
        """
        self._step(Advance(instructions))

    def holds(self) -> tuple[Hold, ...]:
        """What the function asked for."""
        return tuple(step for step in self._open[0] if isinstance(step, Hold))

    def _step(self, step: Step) -> None:
        if len(self._open) == 1:
            raise UsageError(f"nobody is held while the others wait for {step}: use `with r.hold`")
        self._open[-1].append(step)
