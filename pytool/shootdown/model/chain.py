"""Orders the changes of one word by their values.

Numbers are drawn after the access, so two CPUs' changes may be numbered in the wrong order. Every
change says what it found and what it left, though, and each CPU's own changes are in order: the
true history is a merge of the CPUs' sequences in which each change finds what the one before it
left. Where several merges fit, the one closest to the numbers is taken.

A change that does not know what it found (``Kind.WATCH``: its old value is its new one) finds what
the one before it left, as long as only bits differ that such changes may touch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

_PATIENCE: Final = 10_000
"""Wrong turns taken back before a history counts as broken."""


class Step(NamedTuple):
    """One change of a word: what it held before (or after, when that is not known) and after."""

    seq: int
    icount: int
    cpu: int
    pc: int
    lock: int
    old: int
    new: int
    kind: int


def chain(steps: list[Step], unknown: int = 0) -> tuple[list[Step], int]:
    """``steps``, which come by ``seq``, in their true order, and the number of breaks in it.

    After a break the history goes on with the lowest number left. ``unknown``: bits that may differ
    where a step does not know what it found. It is told what that was.
    """
    ordered: list[Step] = []
    breaks = -1
    rest = steps
    while rest:
        breaks += 1
        found, value = _longest(rest, unknown)
        done = set(found)
        rest = [step for step in rest if step not in done]
        ordered += _told(found, value)
    return ordered, max(breaks, 0)


def _finds(step: Step, value: int, unknown: int) -> bool:
    """Whether the step may have found ``value``."""
    if step.old == value:
        return True
    return step.old == step.new and (step.old ^ value) & ~unknown == 0


def _told(steps: list[Step], value: int) -> Iterator[Step]:
    """The steps of one history that begins with ``value``, each with what it found."""
    for step in steps:
        yield step if step.old == value else step._replace(old=value)
        value = step.new


def _longest(steps: list[Step], unknown: int) -> tuple[list[Step], int]:
    """The longest history found, from what any CPU's first step began with, and that value."""
    heads = {step.cpu: step.old for step in reversed(steps)}
    best: tuple[list[Step], int] = ([], 0)
    for value in dict.fromkeys([steps[0].old, *heads.values()]):
        found = _in_order(steps, value, unknown) or _Search(steps, value, unknown).longest()
        best = max(best, (found, value), key=lambda history: len(history[0]))
        if len(found) == len(steps):
            break
    return best


def _in_order(steps: list[Step], value: int, unknown: int) -> list[Step]:
    """All the steps, when they chain as they are numbered; else none."""
    for step in steps:
        if not _finds(step, value, unknown):
            return []
        value = step.new
    return steps


class _Search:
    """Depth-first search for a merge of the CPUs' sequences that chains."""

    def __init__(self, steps: list[Step], value: int, unknown: int) -> None:
        cpus = sorted({step.cpu for step in steps})
        self._queues = [[step for step in steps if step.cpu == cpu] for cpu in cpus]
        self._total = len(steps)
        self._at = [0] * len(cpus)
        self._path: list[int] = []
        """Which queue each step was taken from."""
        self._turns: list[list[int]] = []
        """Queues not yet tried, at each step of the path."""
        self._dead: set[tuple[int, ...]] = set()
        """Where no turn led on: places in the queues, and the value there."""
        self._values = [value]
        """What the word held before each step of the path, and what it holds after the last."""
        self._unknown = unknown

    def longest(self) -> list[Step]:
        """The whole merge, or else the longest beginning of one that was found."""
        best: list[int] = []
        for _ in range(_PATIENCE):
            while self._forward():
                pass
            if len(self._path) > len(best):
                best = list(self._path)
            if len(best) == self._total or not self._back():
                break
        at = [0] * len(self._queues)
        merged = []
        for queue in best:
            merged.append(self._queues[queue][at[queue]])
            at[queue] += 1
        return merged

    def _forward(self) -> bool:
        heads = [
            (queue[at].seq, i)
            for i, (queue, at) in enumerate(zip(self._queues, self._at, strict=True))
            if at < len(queue) and _finds(queue[at], self._values[-1], self._unknown)
        ]
        return self._take([i for _, i in sorted(heads)])

    def _take(self, candidates: list[int]) -> bool:
        while candidates:
            queue = candidates.pop(0)
            step = self._queues[queue][self._at[queue]]
            self._at[queue] += 1
            if (*self._at, step.new) not in self._dead:
                self._path.append(queue)
                self._turns.append(candidates)
                self._values.append(step.new)
                return True
            self._at[queue] -= 1
        return False

    def _back(self) -> bool:
        """Undo the last step and take another turn there, or further back."""
        while self._path:
            self._dead.add((*self._at, self._values[-1]))
            queue, turns = self._path.pop(), self._turns.pop()
            self._at[queue] -= 1
            self._values.pop()
            if self._take(turns):
                return True
        return False
