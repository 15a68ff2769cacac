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
from shootdown.race.points import Plan
from shootdown.race.replay import Player, Replayed, Seen, replay
from shootdown.run import directory

Tell = Callable[[str], None]

TRIES: Final = 3
"""Trials in which a smaller plan has to show the violation, each time."""
_ROUNDS: Final = 2
"""How often all is tried anew, with twice the trials, when the result is less sure than before."""


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
    tried = 0
    player = Player(finding.experiment, _silent)
    for attempt in range(_ROUNDS):
        search = Search(finding, _in_scratch(player, finding), tries << attempt, tell)
        plan = search.run()
        tried += search.tried
        small = replace(finding, plan=plan)
        where = out / ("verify" if not attempt else f"verify-{attempt + 1}")
        fresh = replace(small.experiment, seed=small.experiment.seed + tried + 1)
        verified = replay(replace(small, experiment=fresh), count, where, tell)
        if verified.word == "reliable" or not search.reliable:
            break
        tell(f"the smaller plan is less sure, {verified}; once more, with more trials of each")
    return Shrunk(small, verified, tried)


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
        self.tried = 0
        self.reliable = True
        """Whether the finding came back each time as it is."""

    def run(self) -> Plan | None:
        """The smallest plan that was found; None when no hold is needed.

        Raises NotReproducedError when the finding does not come back as it is.
        """
        best = self._finding.plan
        assert best is not None
        seen = self._begin(best)
        if self._accepts(None):
            return None
        best, seen = self._descend(best, seen, lambda plan, _: reduce.smaller(plan))
        return self._descend(best, seen, reduce.shorter)[0]

    def _begin(self, plan: Plan) -> list[Seen]:
        seen = [self._trial(plan) for _ in range(self._tries)]
        if not any(one.same for one in seen):
            raise NotReproducedError(
                f"{self._finding.expected[0]} did not come back in {self._tries} trials; "
                "`shootdown replay` with more trials says how often it does"
            )
        self.reliable = all(one.same for one in seen)
        return [one for one in seen if one.same]

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
        """The trials of a plan that shows the violation; none when it does not."""
        if plan in self._refused:
            return []
        seen: list[Seen] = []
        for _ in range(self._tries):
            one = self._trial(plan)
            if one.same:
                seen.append(one)
            elif self.reliable:
                seen = []
                break
        if not seen:
            self._refused.add(plan)
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
