"""The history of every mmap_lock, from its rwsem count word.

The layout of the word and the meaning of each step are those of kernel/locking/rwsem.c::

    bit 0 a writer holds it   bit 1 waiters   bit 2 hand-off   bits 8..62 readers   bit 63 overflow

A number is drawn after the access, so a release may be numbered after the next acquire. The values
tell the true order: each step must begin with what the step before it left (``chain``). Flags are
set by an OR and cleared by an AND, which on x86 do not tell what they found.

A step by +-0x100 is ambiguous when somebody waits: a reader tries its luck, or the waker of readers
probes; a reader gives up, queues, or releases. The place in the code tells them apart. The function
that takes (or leaves) the lock as a reader does so without waiters too; the slow paths of
rwsem_mark_wake() and rwsem_down_read_slowpath() do their steps by +-0x100 only while there are
waiters. So a pc that was seen to make the step without waiters is a reader's own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

import numpy as np

from shootdown.model.chain import Step, chain
from shootdown.trace.columns import any_of
from shootdown.trace.schema import Kind, Watch
from shootdown.trace.types import Events

WRITER: Final = 1
WAITERS: Final = 2
HANDOFF: Final = 4
READER: Final = 0x100
_FLAGS: Final = WAITERS | HANDOFF
_CLEARED: Final = (WAITERS, HANDOFF, _FLAGS)
_KEPT: Final = (_FLAGS, HANDOFF, WAITERS, 0)
"""What is left of ``_FLAGS`` when a grant clears none, the waiters', the hand-off's or both."""
STEP: Final = ("seq", "icount", "cpu", "pc", "d", "b", "c", "kind")
_READ_FAILED: Final = WRITER | WAITERS | HANDOFF | 1 << 63


class Move(Enum):
    """What one change of the word means."""

    WRITE_ACQUIRE = "write acquire"
    WRITE_RELEASE = "write release"
    DOWNGRADE = "downgrade"
    READ_ACQUIRE = "read acquire"
    READ_STEAL = "read acquire in front of waiters"
    READ_GRANT = "read grant by the waker"
    READ_RELEASE = "read release"
    TENTATIVE = "tentative reader"
    BACK_OUT = "tentative reader queues"
    PROBE = "waker's probe"
    PROBE_LOST = "waker's probe lost to a writer"
    WAIT = "waiters or hand-off flagged"
    CALM = "waiters or hand-off cleared"
    INIT = "initialised"
    STRANGE = "not a step of an rwsem"


@dataclass(frozen=True, slots=True)
class Transition:
    """One change of a lock word.

    ``lock`` is the VA of the mm_struct, or for ``Watch.VMA_LOCK`` of the VMA; ``readers`` says how
    many sleeping readers a grant lets in.
    """

    seq: int
    icount: int
    cpu: int
    pc: int
    lock: int
    old: int
    new: int
    move: Move
    readers: int = 0


@dataclass(frozen=True)
class Locks:
    """All transitions, lock by lock in their true order."""

    transitions: tuple[Transition, ...]
    words: int
    """Lock words seen."""
    breaks: int
    """Places where the values do not chain: evidence about locks is incomplete."""

    def counts(self) -> Counter[Move]:
        """How often each move was made."""
        return Counter(transition.move for transition in self.transitions)

    def acquisitions(self) -> tuple[int, int]:
        """How often the locks were taken to write, and to read (downgrades left out)."""
        counts = self.counts()
        granted = sum(t.readers for t in self.transitions if t.move is Move.READ_GRANT)
        return (
            counts[Move.WRITE_ACQUIRE],
            counts[Move.READ_ACQUIRE] + counts[Move.READ_STEAL] + granted,
        )


def transitions(events: Events, watch: Watch = Watch.MMAP_LOCK) -> Locks:
    """Decode every mmap_lock in a trace, or the rwsems that another watch follows."""
    kinds = any_of(events["kind"], (Kind.WATCH, Kind.WATCH_INIT))
    mine = events[kinds & (events["id"] == watch)]
    histories: list[list[Step]] = []
    breaks = 0
    words = np.unique(mine["a"])
    for word in words:
        for life in lives(mine[mine["a"] == word]):
            steps, broken = chain(life, unknown=_FLAGS)
            histories.append(steps)
            breaks += broken
    own = _readers_own(step for steps in histories for step in steps)
    decoded = [t for steps in histories for t in decode(steps, own)]
    return Locks(tuple(decoded), len(words), breaks)


def lives(events: Events) -> Iterator[list[Step]]:
    """The steps of one word, cut where it began to be watched anew."""
    life: list[Step] = []
    for row in events[list(STEP)].tolist():
        seq, icount, cpu, pc, lock, old, new, kind = row
        if kind == Kind.WATCH_INIT:
            if life:
                yield life
            life = []
            old = new
        life.append(Step(seq, icount, cpu, pc, lock, old, new, kind))
    if life:
        yield life


def _readers_own(steps: Iterable[Step]) -> frozenset[tuple[int, int]]:
    """Places (pc, delta) that take or leave the lock as a reader by themselves."""
    return frozenset(
        (step.pc, step.new - step.old)
        for step in steps
        if abs(step.new - step.old) == READER and not step.old & WAITERS
    )


def stretches(steps: list[Step]) -> Iterator[list[Step]]:
    """A history cut wherever the lock is free: what was before does not matter any more.

    Nobody holds it, waits, or has come as a reader to go away again.
    """
    stretch: list[Step] = []
    for step in steps:
        stretch.append(step)
        if step.new == 0:
            yield stretch
            stretch = []
    if stretch:
        yield stretch


def decode(steps: list[Step], own: frozenset[tuple[int, int]]) -> Iterator[Transition]:
    """What the steps of a history, in their true order, mean.

    ``own``: places (pc, delta) that take or leave the lock as a reader by themselves.
    """
    for stretch in stretches(steps):
        yield from _decode(stretch, own)


def _decode(steps: list[Step], own: frozenset[tuple[int, int]]) -> Iterator[Transition]:
    following = _same_cpu_next(steps)
    last: dict[int, Move] = {}
    for step, after in zip(steps, following, strict=True):
        if step.kind == Kind.WATCH_INIT or step.old == step.new:
            continue
        move, readers = _move(step, after, last.get(step.cpu), own)
        last[step.cpu] = move
        yield Transition(
            step.seq, step.icount, step.cpu, step.pc, step.lock, step.old, step.new, move, readers
        )


def _same_cpu_next(steps: list[Step]) -> list[Step | None]:
    """For each step the next one of the same CPU."""
    coming: dict[int, Step] = {}
    following: list[Step | None] = []
    for step in reversed(steps):
        following.append(coming.get(step.cpu))
        coming[step.cpu] = step
    return following[::-1]


def _move(
    step: Step, after: Step | None, before: Move | None, own: frozenset[tuple[int, int]]
) -> tuple[Move, int]:
    """What a step means, and how many readers it lets in for others.

    ``before`` is what the CPU did last with the lock, ``after`` its next step.
    """
    delta = step.new - step.old
    if step.old & WRITER != step.new & WRITER:
        move = _writer(step.old, step.new, delta)
    elif delta == READER:
        move = _reader_comes(step, after, own)
    elif delta < 0 and delta + READER in (0, WAITERS, HANDOFF):
        move = _reader_leaves(delta, before)
    else:
        move = _other(step.new, delta)
    return move, (delta + _FLAGS) // READER if move is Move.READ_GRANT else 0


def _writer(old: int, new: int, delta: int) -> Move:
    """A step that sets or clears the writer's bit."""
    if new & WRITER:
        free = old & ~(READER - 1) == 0
        cleared = WRITER - delta  # flags that went with the last waiter, or with a hand-off
        return Move.WRITE_ACQUIRE if free and cleared in (0, *_CLEARED) else Move.STRANGE
    if delta == -WRITER:
        return Move.WRITE_RELEASE
    return Move.DOWNGRADE if delta == READER - WRITER else Move.STRANGE


def _reader_comes(step: Step, after: Step | None, own: frozenset[tuple[int, int]]) -> Move:
    """A step by +0x100."""
    if not step.new & _READ_FAILED:
        return Move.READ_ACQUIRE
    if (step.pc, READER) in own:
        return Move.TENTATIVE if after and _backs_out(after, own) else Move.READ_STEAL
    return Move.PROBE if step.old & WRITER else Move.READ_GRANT


def _reader_leaves(delta: int, before: Move | None) -> Move:
    """A step by -0x100, perhaps setting a flag on the way."""
    if delta == WAITERS - READER:
        return Move.BACK_OUT  # rwsem_down_read_slowpath(): the first to queue
    if before is Move.PROBE or delta == HANDOFF - READER:
        return Move.PROBE_LOST
    return Move.BACK_OUT if before is Move.TENTATIVE else Move.READ_RELEASE


def _backs_out(after: Step, own: frozenset[tuple[int, int]]) -> bool:
    delta = after.new - after.old
    if delta == WAITERS - READER:
        return True
    return delta == -READER and (after.pc, delta) not in own


def _other(new: int, delta: int) -> Move:
    """A step that lets sleeping readers in, or moves flags only."""
    grants, flags = divmod(delta + _FLAGS, READER)
    if grants > 0 and flags in _KEPT:
        return Move.READ_GRANT
    if delta in (WAITERS, HANDOFF):
        return Move.WAIT
    if -delta in _CLEARED:
        return Move.CALM
    return Move.INIT if new == 0 else Move.STRANGE
