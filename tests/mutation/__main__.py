"""Draws the sample, and prints what became of it. See the package."""

from __future__ import annotations

import argparse
import os
import random
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import replace

from shootdown.race.interval import shown
from tests import mutation
from tests.mutation.judge import UNNOTICED, Outcome, judge
from tests.mutation.mutants import Mutant, Source, sources
from tests.mutation.outcomes import Kept
from tests.mutation.types import Refusals

Sample = dict[Mutant, Source]


def draw(found: Iterable[Source], size: int, seed: int) -> Sample:
    """Mutants by chance: of the same seed, a larger sample begins with the smaller one."""
    every = [(mutant, source) for source in found for mutant in source.mutants()]
    random.Random(seed).shuffle(every)
    return dict(every[:size])


def named(found: Iterable[Source], names: list[str]) -> Sample:
    """The mutants of those names, such as the tool prints."""
    return {
        mutant: source for source in found for mutant in source.mutants() if mutant.name in names
    }


def run(sample: Sample, kept: Kept, jobs: int) -> None:
    """Find out what becomes of those of which nothing is known."""
    new = {mutant: source for mutant, source in sample.items() if mutant.name not in kept.outcomes}
    work = [(mutant, source.changed(mutant)) for mutant, source in new.items()]

    def tell(outcome: Outcome) -> None:
        kept.add(outcome)
        print(f"{outcome.name}: {outcome.word} {outcome.test}", file=sys.stderr, flush=True)

    if work:
        judge(work, jobs, tell)
    refusals = Refusals()
    for mutant, source in sample.items():
        outcome = kept.outcomes[mutant.name]
        if outcome.word in UNNOTICED and refusals.refused(mutant, source.changed(mutant)):
            tell(replace(outcome, word="refused by mypy"))


def report(sample: Sample, kept: Kept) -> float:
    """Print the outcomes; returns the percentage that was noticed."""
    words = {mutant: kept.outcomes[mutant.name].word for mutant in sample}
    files: defaultdict[str, list[bool]] = defaultdict(list)
    for mutant, word in sorted(words.items(), key=lambda item: item[0].name):
        files[mutant.file].append(word not in UNNOTICED)
        if word in UNNOTICED:
            print(f"{mutant.name}: {word}")
            print("\n".join(f"  {line}" for line in sample[mutant].change(mutant)))
    for file, noticed in files.items():
        print(f"{file:40} {sum(noticed):4} of {len(noticed):4}")
    every = [word not in UNNOTICED for word in words.values()]
    print(f"a sample of {len(words)}: {dict(Counter(words.values()))}")
    print(f"noticed: {shown(sum(every), len(every))}")
    return 100 * sum(every) / len(every)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=mutation.__doc__)
    parser.add_argument("-n", type=int, default=300, help="size of the sample")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", metavar="rules/x.py", help="of one file or directory")
    parser.add_argument("--name", nargs="+", default=[], help="these, instead of a sample")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--least", type=float, default=95.0, metavar="PERCENT")
    options = parser.parse_args()
    found = sources(options.only)
    sample = named(found, options.name) if options.name else draw(found, options.n, options.seed)
    if not sample:
        parser.error("no such mutants")
    kept = Kept()
    run(sample, kept, options.jobs)
    return int(report(sample, kept) < options.least)


if __name__ == "__main__":
    sys.exit(main())
