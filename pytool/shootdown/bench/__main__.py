"""``make bench``: boot and one workload, plain and recorded in turn, then the check of the record.

What is timed is the guest's own stretch: from QEMU's start until the agent is ready, plus the
workload, by the host's clock. The audit and set-up are not in it. The workload is ``fork_cow``
and ``munmap`` on two vCPUs: faults, forks, flushes and system calls, and no thread that spins for
as long as another takes. Then each group of events is recorded alone, and all of them together.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

from shootdown import arch as architectures
from shootdown.bench import checkers, snapshots
from shootdown.bench.ratio import Figure, figure, ratios, table
from shootdown.errors import InfraError, ShootdownError
from shootdown.kernel.groups import GROUPS
from shootdown.run import checkstage, record
from shootdown.run.directory import RunDir
from shootdown.run.experiment import Experiment

_WORKLOADS = "fork_cow,munmap"
_ITERATIONS = 100


def _tell(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


def _seconds(experiment: Experiment, directory: Path) -> float:
    directory.mkdir(parents=True)
    (directory / "trace").mkdir()
    session = record.record(experiment, RunDir(directory), _tell)
    if session.ended != "done":
        raise InfraError(f"the benchmark's guest ended with {session.ended}: {session.message}")
    return session.boot_s + session.record_s


def _experiment(arch: str, kernel: str, *, plugin: bool, events: str = "") -> Experiment:
    return Experiment(
        arch=arch,
        kernel=kernel,
        workloads=_WORKLOADS,
        iterations=_ITERATIONS,
        smp=2,
        plugin=plugin,
        events=events,
    )


def _groups(arch: str, kernel: str, pairs: int, scratch: Path) -> dict[str, Figure]:
    """What all groups of events cost, and each alone, over plain TCG in the same pair."""
    found: dict[str, list[float]] = {}
    for n in range(pairs):
        _tell(f"{arch}: groups, pair {n + 1} of {pairs}, plain")
        where = scratch / f"{arch}-groups-{n}-plain"
        plain = _seconds(_experiment(arch, kernel, plugin=False), where)
        for events in ("none", *GROUPS, "all"):
            _tell(f"{arch}: groups, pair {n + 1} of {pairs}, {events}")
            where = scratch / f"{arch}-groups-{n}-{events}"
            recorded = _seconds(_experiment(arch, kernel, plugin=True, events=events), where)
            found.setdefault(events, []).append(recorded / plain)
            shutil.rmtree(where)
    return {
        f"record_{events}_over_tcg_{arch}"
        if events in ("all", "none")
        else f"record_{events}_alone_over_tcg_{arch}": figure(ratios, "ratio")
        for events, ratios in found.items()
    }


def _measure(arch: str, kernel: str, pairs: int, scratch: Path) -> dict[str, Figure]:
    plain: list[float] = []
    recorded: list[float] = []
    checked: list[float] = []
    rates: list[float] = []
    for n in range(pairs):
        for plugin, seconds in ((False, plain), (True, recorded)):
            _tell(f"{arch}: pair {n + 1} of {pairs}, {'recorded' if plugin else 'plain'}")
            experiment = _experiment(arch, kernel, plugin=plugin)
            seconds.append(_seconds(experiment, scratch / f"{arch}-{n}-{plugin}"))
        run = RunDir(scratch / f"{arch}-{n}-True")
        start = time.perf_counter()
        result = checkstage.check(run, _tell)
        spent = time.perf_counter() - start
        checked.append(spent)
        rates.append(sum(result.events.values()) / spent)
    return {
        f"plain_{arch}": figure(plain, "s"),
        f"record_default_{arch}": figure(recorded, "s"),
        f"record_default_over_tcg_{arch}": ratios(recorded, plain),
        f"check_over_record_{arch}": ratios(checked, recorded),
        f"checker_events_per_s_{arch}": figure(rates, "events/s"),
    }


def main() -> int:
    """Measure, print the table, write bench.json; returns the exit code."""
    parser = argparse.ArgumentParser(prog="shootdown.bench", description=__doc__.split("\n")[0])
    parser.add_argument("--pairs", type=int, default=5, help="paired runs (default: 5)")
    parser.add_argument(
        "--group-pairs", type=int, default=2, help="paired runs of each event group (default: 2)"
    )
    parser.add_argument("--arch", default="all", help="x86_64, arm64 or all")
    parser.add_argument("--kernel", default="debian:6.12")
    parser.add_argument("--out", type=Path, default=Path("bench.json"))
    options = parser.parse_args()
    chosen = architectures.names() if options.arch == "all" else (options.arch,)
    figures: dict[str, Figure] = {}
    try:
        with tempfile.TemporaryDirectory(prefix="shootdown-bench-") as scratch:
            for arch in chosen:
                figures |= _measure(arch, options.kernel, options.pairs, Path(scratch))
                figures |= _groups(arch, options.kernel, options.group_pairs, Path(scratch))
                figures |= snapshots.measure(
                    arch, options.kernel, options.pairs, Path(scratch), _tell
                )
            _tell("both checkers on a synthetic trace")
            figures |= checkers.measure(Path(scratch))
    except ShootdownError as error:
        print(f"shootdown: error: {error}", file=sys.stderr)
        return int(error.exit_code)
    print(table(figures))
    options.out.write_text(json.dumps({k: f.json() for k, f in figures.items()}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
