"""How often each move of an mmap_lock was made, piece by piece of a trace.

It counts what ``locks.transitions`` decodes, and uses its parts; but most stretches of a lock's
history come in their true order and without anybody waiting, and those are counted in numpy.

What is over is counted and forgotten: whenever the lock is free, what was before does not matter
(``locks.stretches``). A number is drawn after its access, so a step may be numbered behind others
that came after it, but no CPU can be late by more than one step: the last ``_LATE`` steps wait.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from shootdown.model import locks
from shootdown.model.chain import Step, chain
from shootdown.model.locks import Move
from shootdown.trace.columns import are, joined, records
from shootdown.trace.parts import Parts
from shootdown.trace.schema import Kind, Watch
from shootdown.trace.types import Events

_LATE: Final = 64
"""Steps that may still be found to be out of order: one of each CPU, and CPUs are no more."""
_HOPELESS: Final = 1 << 14
"""Steps after which a history that does not chain is taken as broken."""
_FLAGS: Final = locks.WAITERS | locks.HANDOFF

Own = frozenset[tuple[int, int]]
_Values = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass
class Tally:
    """What ``CheckReport`` says about locks; the fields as those of ``locks.Locks``."""

    moves: Counter[Move] = field(default_factory=Counter)
    words: int = 0
    breaks: int = 0


def tally(history: locks.Locks) -> Tally:
    """The same of a history that was decoded step by step."""
    return Tally(history.counts(), history.words, history.breaks)


def of_locks(part: Events) -> Events:
    """The events of a part that are about mmap_locks."""
    kind = np.ascontiguousarray(part["kind"])
    at = np.flatnonzero(are(kind, Kind.WATCH) | are(kind, Kind.WATCH_INIT))
    return records(part, at[are(part["id"][at], Watch.MMAP_LOCK)])


def readers_own(part: Events) -> Own:
    """Places that take or leave the lock as a reader by themselves (``locks.readers_own``).

    The raw values will do: a step by a reader is never one that does not know what it found.
    """
    mine = of_locks(part)
    delta = mine["c"].astype(np.int64) - mine["b"].astype(np.int64)
    step = (np.abs(delta) == locks.READER) & (mine["b"] & np.uint64(locks.WAITERS) == 0)
    step &= are(mine["kind"], Kind.WATCH)
    return frozenset(
        (pc, by)
        for by in (locks.READER, -locks.READER)
        for pc in np.unique(mine["pc"][step & (delta == by)]).tolist()
    )


class LockTally:
    """Counts; ``own`` are the readers' own places in the whole trace."""

    def __init__(self, own: Own) -> None:
        self._own = own
        self._waiting: dict[int, Events] = {}
        self._seen: set[int] = set()
        self._found = Tally()

    def feed(self, parts: Parts) -> None:
        """The next piece of the trace."""
        mine = joined(map(of_locks, parts.values()))
        mine = records(mine, np.lexsort((mine["seq"], mine["a"])))
        cuts = np.flatnonzero(mine["a"][1:] != mine["a"][:-1]) + 1
        for steps in np.split(mine, cuts) if len(mine) else ():
            word = int(steps["a"][0])
            self._seen.add(word)
            before = self._waiting.pop(word, None)
            self._word(word, steps if before is None else joined([before, steps]))

    def finish(self) -> Tally:
        """The trace is over."""
        for steps in self._waiting.values():
            self._end(steps)
        self._waiting.clear()
        self._found.words = len(self._seen)
        return self._found

    def _word(self, word: int, steps: Events) -> None:
        anew = np.flatnonzero(are(steps["kind"], Kind.WATCH_INIT) & (steps["seq"] != 0))
        for life in np.split(steps, anew[anew > 0])[:-1]:
            self._end(life)
        life = steps[anew[-1] if len(anew) else 0 :]
        old, fits = _values(life)
        ordered = len(life) if fits.all() else int(np.argmin(fits))
        free = np.flatnonzero(life["c"][: max(ordered - _LATE, 0)] == 0)
        if len(free):
            cut = int(free[-1]) + 1
            self._count(life[:cut], old[:cut])
            life = _go_on(life, cut)
        elif len(life) > _HOPELESS:
            self._end(life)
            life = _go_on(life, len(life))
        self._waiting[word] = life

    def _end(self, life: Events) -> None:
        """Nothing comes after: count it all, in whatever order it chains."""
        old, fits = _values(life)
        if fits.all():
            self._count(life, old)
            return
        steps = [_step(row, row["b"]) for row in life]
        ordered, breaks = chain(steps, unknown=_FLAGS)
        self._found.breaks += breaks
        self._decode(ordered)

    def _count(self, life: Events, old: _Values) -> None:
        """Count what is in its true order; ``old`` is what each step found."""
        moves = self._found.moves
        new = life["c"].astype(np.int64)
        delta = new - old
        hard = are(life["kind"], Kind.WATCH) & ~_easy(old, new, delta) & (delta != 0)
        if not hard.any():
            _count_easy(moves, delta[are(life["kind"], Kind.WATCH)])
            return
        # Only the stretches that have something hard in them are decoded step by step.
        stretch = np.concatenate([[0], np.cumsum(new[:-1] == 0)])
        mixed = np.isin(stretch, np.unique(stretch[hard]))
        _count_easy(moves, delta[~mixed & are(life["kind"], Kind.WATCH)])
        rows = np.flatnonzero(mixed)
        self._decode([_step(life[i], old[i]) for i in rows.tolist()])

    def _decode(self, steps: list[Step]) -> None:
        for transition in locks.decode(steps, self._own):
            self._found.moves[transition.move] += 1


def _values(life: Events) -> tuple[_Values, Mask]:
    """What each step found when they are in their true order, and which steps can be so."""
    raw, new = life["b"].astype(np.int64), life["c"].astype(np.int64)
    first = new[:1] if life["kind"][0] == Kind.WATCH_INIT else raw[:1]
    old = np.concatenate([first, new[:-1]])
    fits: Mask = (raw == old) | ((raw == new) & ((raw ^ old) & ~_FLAGS == 0))
    fits[0] = True
    return old, fits


def _easy(old: _Values, new: _Values, delta: _Values) -> Mask:
    """Moves that the step itself tells, when nobody waits or hands the lock over."""
    calm = (old | new) & _FLAGS == 0
    taken = (old == 0) & (new == locks.WRITER)
    left = (old & locks.WRITER != 0) & (delta == -locks.WRITER)
    downgraded = (old & locks.WRITER != 0) & (delta == locks.READER - locks.WRITER)
    reads = ((old | new) & locks.WRITER == 0) & (np.abs(delta) == locks.READER) & (new >= 0)
    easy: Mask = calm & (taken | left | downgraded | reads)
    return easy


def _count_easy(moves: Counter[Move], delta: _Values) -> None:
    for step, move in _EASY:
        if count := int(np.count_nonzero(delta == step)):
            moves[move] += count


_EASY: Final = (
    (locks.WRITER, Move.WRITE_ACQUIRE),
    (-locks.WRITER, Move.WRITE_RELEASE),
    (locks.READER - locks.WRITER, Move.DOWNGRADE),
    (locks.READER, Move.READ_ACQUIRE),
    (-locks.READER, Move.READ_RELEASE),
)


def _go_on(life: Events, cut: int) -> Events:
    """What is left behind a place where the lock was free, with that as its beginning."""
    rest = life[cut - 1 :].copy()
    rest[0]["kind"], rest[0]["seq"] = Kind.WATCH_INIT, 0
    return rest


def _step(row: np.void, old: int) -> Step:
    seq, icount, cpu, pc, lock, _, new, kind = row[list(locks.STEP)].item()
    found = new if kind == Kind.WATCH_INIT else int(old) % (1 << 64)
    return Step(seq, icount, cpu, pc, lock, found, new, kind)
