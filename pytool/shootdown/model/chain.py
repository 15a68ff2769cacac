"""Orders the changes of one word by their values.

Numbers are drawn after the access, so two CPUs' changes may be numbered in the wrong order. Every
change says what it found and what it left, though, and each CPU's own changes are in order: the
true history is a merge of the CPUs' sequences in which each change finds what the one before it
left. Where several merges fit, the one closest to the numbers is taken.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final, NamedTuple

_PATIENCE: Final = 10_000
"""Wrong turns taken back before a history counts as broken."""


class Step(NamedTuple):
    """One change of a word: what it held before and after."""

    seq: int
    icount: int
    cpu: int
    pc: int
    lock: int
    old: int
    new: int
    kind: int


def chain(steps: list[Step]) -> tuple[list[Step], int]:
    """``steps``, which come by ``seq``, in their true order, and the number of breaks in it.

    After a break the history goes on with the lowest number left.
    """
    if all(after.old == before.new for before, after in pairwise(steps)):
        return steps, 0
    ordered: list[Step] = []
    breaks = -1
    rest = steps
    while rest:
        breaks += 1
        ordered += _longest(rest)
        done = set(ordered)
        rest = [step for step in rest if step not in done]
    return ordered, breaks


def _longest(steps: list[Step]) -> list[Step]:
    """The longest history found, from what any CPU's first step began with."""
    heads = {step.cpu: step.old for step in reversed(steps)}
    best: list[Step] = []
    for value in dict.fromkeys([steps[0].old, *heads.values()]):
        found = _Search(steps, value).longest()
        best = max(best, found, key=len)
        if len(best) == len(steps):
            break
    return best


class _Search:
    """Depth-first search for a merge of the CPUs' sequences that chains."""

    def __init__(self, steps: list[Step], value: int) -> None:
        cpus = sorted({step.cpu for step in steps})
        self._queues = [[step for step in steps if step.cpu == cpu] for cpu in cpus]
        self._total = len(steps)
        self._at = [0] * len(cpus)
        self._path: list[int] = []
        """Which queue each step was taken from."""
        self._turns: list[list[int]] = []
        """Queues not yet tried, at each step of the path."""
        self._dead: set[tuple[int, ...]] = set()
        self._value = value

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
            if at < len(queue) and queue[at].old == self._value
        ]
        return self._take([i for _, i in sorted(heads)])

    def _take(self, candidates: list[int]) -> bool:
        while candidates:
            queue = candidates.pop(0)
            step = self._queues[queue][self._at[queue]]
            self._at[queue] += 1
            if tuple(self._at) not in self._dead:
                self._path.append(queue)
                self._turns.append(candidates)
                self._value = step.new
                return True
            self._at[queue] -= 1
        return False

    def _back(self) -> bool:
        """Undo the last step and take another turn there, or further back."""
        while self._path:
            self._dead.add(tuple(self._at))
            queue, turns = self._path.pop(), self._turns.pop()
            self._at[queue] -= 1
            self._value = self._queues[queue][self._at[queue]].old
            if self._take(turns):
                return True
        return False
