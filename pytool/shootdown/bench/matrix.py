"""``make matrix``: which kernel gives which group of events; writes docs/matrix.md from real runs.

Every kernel is booted with all groups armed. A cell says how many events of the group came, or why
the kernel refuses it. What a kernel lacks of a group that it does give is listed below the table.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from shootdown import arch as architectures
from shootdown.errors import InfraError, ShootdownError
from shootdown.kernel.groups import GROUPS
from shootdown.kernel.groups.base import Group
from shootdown.run import directory, record, source
from shootdown.run.directory import RunDir
from shootdown.run.experiment import Experiment
from shootdown.trace.reader import Trace
from shootdown.trace.schema import Kind
from shootdown.trace.types import Events

KERNELS: Final = (
    "debian:6.1",
    "debian:6.12",
    "debian:7.2",
    "built:6.12",
    "built:7.2",
    "built:6.12+debug",
)
_OF_FUNCTIONS: Final = (Kind.ENTER, Kind.EXIT, Kind.PAGE_FREED, Kind.PAGE_ALLOCATED)
_WORKLOADS: Final = "counting*,munmap,ipis"
_ITERATIONS: Final = 20
_MEM: Final = 512
_HEAD: Final = """\
<!-- Made by `make matrix` from real runs; do not edit. -->
# Which kernel gives which events

Each kernel was booted with `--events all` and ran the workloads `{workloads}`, {iterations}
iterations of each. A number is how many events of the group came; *refused* groups say why below.
Besides these groups every recording has page-table writes, flushes, barriers, root loads, mmap_lock
transitions, system calls, task switches, faults, marks and user accesses.
"""


@dataclass(frozen=True)
class Row:
    """One kernel on one architecture."""

    kernel: str
    arch: str
    release: str
    groups: dict[str, dict[str, Any]]
    """As command.json has them."""
    counts: dict[str, int]


def count(group: Group, events: Events) -> int:
    """Events of the group: what its functions tell, and changes of its words."""
    functions = [int(traced.function) for traced in group.functions]
    words = [int(word.watch) for word in group.words]
    words += [int(watch) for watch in group.more_watches]
    words += [int(word.watch) for word in group.percpu]
    words += [int(word.watch) for word in group.variables]
    called = np.isin(events["kind"], _OF_FUNCTIONS) & np.isin(events["id"], functions)
    written = (events["kind"] == Kind.WATCH) & np.isin(events["id"], words)
    return int((called | written).sum())


def measure(kernel: str, arch: str, scratch: Path) -> Row:
    """Boot the kernel and count. Raises InfraError when its guest does not end well."""
    experiment = Experiment(
        arch=arch,
        kernel=kernel,
        workloads=_WORKLOADS,
        iterations=_ITERATIONS,
        events="all",
        mem=max(_MEM, source.needed_mem(kernel)),
    )
    run = directory.create(scratch / f"{arch}-{kernel.replace(':', '-').replace('/', '-')}")
    state = record.record(experiment, run, _tell)
    if state.ended != "done":
        raise InfraError(f"{kernel} on {arch} ended with {state.ended}: {state.message}")
    return row(run, kernel, arch)


def row(run: RunDir, kernel: str, arch: str) -> Row:
    """What a run directory tells."""
    command = directory.read_json(run.command)
    events = Trace(run.trace).events()
    counts = {name: count(group, events) for name, group in GROUPS.items()}
    return Row(kernel, arch, command["kernel"]["release"], command["events"], counts)


def document(rows: list[Row]) -> str:
    """The text of docs/matrix.md."""
    head = _HEAD.format(workloads=_WORKLOADS, iterations=_ITERATIONS)
    lines = [head, f"| group | {' | '.join(f'{r.kernel} {r.arch}' for r in rows)} |"]
    lines.append("| --- |" + " ---: |" * len(rows))
    for name in GROUPS:
        cells = [str(r.counts[name]) if r.groups[name]["recorded"] else "refused" for r in rows]
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    lines += ["", *_groups(), "", "## Refused, and why", "", *_refused(rows)]
    lines += ["", "## What a kernel lacks of a group that it gives", "", *_absent(rows)]
    return "\n".join(lines) + "\n"


def _groups() -> list[str]:
    return [f"* `{group.name}`: {group.text}." for group in GROUPS.values()]


def _refused(rows: list[Row]) -> list[str]:
    return [
        f"* {r.kernel} {r.arch} (Linux {r.release}), `{name}`: {group['refused']}."
        for r in rows
        for name, group in r.groups.items()
        if group["refused"]
    ] or ["Nothing."]


def _absent(rows: list[Row]) -> list[str]:
    return [
        f"* {r.kernel} {r.arch}, `{name}`: {', '.join(group['absent'])}."
        for r in rows
        for name, group in r.groups.items()
        if group["recorded"] and group["absent"]
    ] or ["Nothing."]


def _tell(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


def main() -> int:
    """Measure all kernels on all architectures and write the document; returns the exit code."""
    parser = argparse.ArgumentParser(prog="shootdown.bench.matrix")
    parser.add_argument("--out", type=Path, default=Path("docs/matrix.md"))
    parser.add_argument("kernels", nargs="*", default=list(KERNELS), help="as --kernel takes them")
    options = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory(prefix="shootdown-matrix-") as scratch:
            rows = [
                measure(kernel, arch, Path(scratch))
                for kernel in options.kernels
                for arch in architectures.names()
            ]
    except ShootdownError as error:
        print(f"shootdown: error: {error}", file=sys.stderr)
        return int(error.exit_code)
    options.out.write_text(document(rows), encoding="utf-8")
    print(f"wrote {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
