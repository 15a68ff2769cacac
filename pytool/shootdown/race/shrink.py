"""The fewest and shortest holds that still give a violation, found by trying smaller plans."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from shootdown.errors import NotReproducedError, UsageError
from shootdown.race import reduce, trial
from shootdown.race.finding import Finding
from shootdown.race.interval import wilson
from shootdown.race.points import Plan
from shootdown.race.replay import Player, Replayed, Seen, replay
from shootdown.run import directory

Tell = Callable[[str], None]

TRIES: Final = 3
"""Trials in which a smaller plan has to show the violation, each time."""
_ROUNDS: Final = 3
"""How many results may fail their fresh trials; then the finding stays as it was."""
_FRESH: Final = 1 << 20
"""Between the seeds of the search and those of fresh trials."""


@dataclass(frozen=True)
class Shrunk:
    """The smaller finding and its fresh trials."""

    finding: Finding
    """With plan None when no hold is needed at all."""
    verified: Replayed
    tried: int
    """Trials until the plan was found, without the fresh ones."""


def shrink(finding: Finding, count: int, out: Path, tell: Tell, *, tries: int = TRIES) -> Shrunk:
    """Shrink a finding that has holds, and run the result ``count`` times, below ``out``.

    Trials have seeds of their own, so that the result does not rest on one. Raises UsageError when
    there are no holds, NotReproducedError when the finding does not come back as it is, and what a
    trial raises.
    """
    if finding.plan is None:
        raise UsageError("the finding has no holds, so there is nothing to shrink")
    player = Player(finding.experiment, _silent)
    search = Search(finding, _in_scratch(player, finding), tries, tell)
    for number in range(1, _ROUNDS + 2):
        plan = search.run() if number <= _ROUNDS else finding.plan
        fresh = replace(finding.experiment, seed=finding.experiment.seed + _FRESH + number)
        where = out / ("verify" if number == 1 else f"verify-{number}")
        verified = replay(replace(finding, plan=plan, experiment=fresh), count, where, tell)
        if plan == finding.plan or as_sure(verified, search.share):
            break
        tell(f"the smaller plan was luck, {verified}; once more, without it")
        search.refuse(plan)
    return Shrunk(replace(finding, plan=plan), verified, search.tried)


def as_sure(verified: Replayed, share: float) -> bool:
    """Whether fresh trials bear out a result whose finding came back in that share of its own."""
    if verified.word == "reliable" or not verified.hits:
        return verified.hits > 0
    return wilson(verified.hits, verified.trials)[1] >= share


Play = Callable[[Plan | None, int], Seen]
"""One trial of a plan, with a seed."""


def _in_scratch(player: Player, finding: Finding) -> Play:
    def play(plan: Plan | None, seed: int) -> Seen:
        with tempfile.TemporaryDirectory(prefix="shootdown-shrink-") as scratch:
            run = directory.create(Path(scratch) / "run", trial.ROOM_BYTES)
            return player.play(plan, run, finding.expected[0], seed)

    return play


class Search:
    """One descent from a plan to one of which no part can be left out."""

    def __init__(self, finding: Finding, play: Play, tries: int, tell: Tell) -> None:
        self._finding = finding
        self._tries = tries
        self._tell = tell
        self._play = play
        self._refused: set[Plan | None] = set()
        self._first: list[Seen] = []
        self.tried = 0

    @property
    def share(self) -> float:
        """In what share of the first trials the finding came back as it is."""
        return len(self._first) / self._tries

    def refuse(self, plan: Plan | None) -> None:
        """That plan is not to be the result."""
        self._refused.add(plan)

    def run(self) -> Plan | None:
        """The smallest plan that was found; None when no hold is needed.

        Raises NotReproducedError when the finding does not come back as it is.
        """
        best = self._finding.plan
        assert best is not None
        self._first = self._first or self._begin(best)
        if self._accepts(None):
            return None
        best, seen = self._descend(best, self._first, lambda plan, _: reduce.smaller(plan))
        return self._descend(best, seen, reduce.shorter)[0]

    def _begin(self, plan: Plan) -> list[Seen]:
        seen = [one for one in (self._trial(plan) for _ in range(self._tries)) if one.same]
        if not seen:
            raise NotReproducedError(
                f"{self._finding.expected[0]} did not come back in {self._tries} trials; "
                "`shootdown replay` with more trials says how often it does"
            )
        return seen

    def _descend(
        self,
        best: Plan,
        seen: list[Seen],
        smaller: Callable[[Plan, Sequence[float]], Iterable[Plan]],
    ) -> tuple[Plan, list[Seen]]:
        going = True
        while going:
            going = False
            for plan in smaller(best, _longest(seen)):
                if reduce.size(plan) < reduce.size(best) and (found := self._accepts(plan)):
                    best, seen, going = plan, found, True
                    holds, waits, _ = reduce.size(plan)
                    self._tell(f"still with {holds} holds and {waits - holds} steps in them")
                    break
        return best, seen

    def _accepts(self, plan: Plan | None) -> list[Seen]:
        """The trials of a plan that shows the violation as often as the finding; else none."""
        if plan in self._refused:
            return []
        seen: list[Seen] = []
        for left in range(self._tries, 0, -1):
            if len(seen) + left < len(self._first):
                break
            one = self._trial(plan)
            seen += [one] if one.same else []
        if len(seen) < len(self._first):
            self._refused.add(plan)
            return []
        return seen

    def _trial(self, plan: Plan | None) -> Seen:
        seed = self._finding.experiment.seed + self.tried
        self.tried += 1
        one = self._play(plan, seed)
        self._tell(f"trial {self.tried}: {'yes' if one.same else 'no'}")
        return one


def _longest(seen: list[Seen]) -> list[float]:
    """Of each hold how long it took at most; nothing when the trials had different ones."""
    if len({len(one.longest_ms) for one in seen}) != 1:
        return []
    return [max(times) for times in zip(*(one.longest_ms for one in seen), strict=True)]


def _silent(_: str) -> None:
    pass
