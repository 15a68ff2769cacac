"""``make campaign``: stock kernels under the own workloads and stress-ng, all rules armed.

A campaign is a list of cells: one kernel, one architecture, one workload or stressor. A cell's
outcome is appended to docs/verdicts.jsonl as soon as it is known, and a cell that the file has is
not run again, so a campaign can be interrupted, and spread over days and machines. docs/verdicts.md
is made of that file; take lines out of it to have their cells run anew. What did not pass keeps its
run directory; the traces of the others are removed.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from shootdown import arch as architectures
from shootdown.bench import verdicts
from shootdown.errors import ExitCode, InfraError, ShootdownError
from shootdown.loads import stress_ng

KERNELS: Final = ("debian:6.1", "debian:6.12", "debian:7.2")
WORKLOADS: Final = ("map_fixed", "munmap", "mprotect", "mremap", "madvise", "fork_cow")
ITERATIONS: Final = 5000
SECONDS: Final = 20
_MEM: Final = 512


@dataclass(frozen=True)
class Cell:
    """One run of the campaign; ``what`` is a workload or ``stress-ng:NAME``."""

    kernel: str
    arch: str
    what: str

    def words(self, iterations: int, seconds: int) -> list[str]:
        """The arguments of ``shootdown`` that run it."""
        words = ["run", "--kernel", self.kernel, "--arch", self.arch, "--events", "all"]
        # Until the trace is complete, and checked, the guest has the machine to itself.
        words += ["--mem", str(_MEM), "--no-check-live"]
        if self.what.startswith(stress_ng.PACKAGE):
            return [*words, "--load", self.what, "--seconds", str(seconds)]
        # Aliases are never due to MAP_FIXED; elsewhere shared locks allow them (E8, E9).
        policy = "glisse" if self.what == "map_fixed" else "wilcox"
        words += ["--workload", self.what, "--iterations", str(iterations)]
        return [*words, "--policy", policy, "--timeout", "1800"]


def cells(kernels: Iterable[str], pattern: str) -> Iterator[Cell]:
    """All cells whose ``KERNEL ARCH WHAT`` matches a shell pattern, the own workloads first."""
    pairs = [(kernel, arch) for kernel in kernels for arch in architectures.names()]
    every = [Cell(*pair, what) for what in WORKLOADS for pair in pairs]
    for name in stress_ng.STRESSORS:
        load = f"{stress_ng.PACKAGE}:{name}"
        every += [Cell(*p, load) for p in pairs if p[1] not in stress_ng.STRESSORS[name].not_on]
    for cell in every:
        if fnmatch.fnmatch(f"{cell.kernel} {cell.arch} {cell.what}", pattern):
            yield cell


def known(path: Path) -> dict[Cell, dict[str, Any]]:
    """Outcomes that the file has, the last one of each cell; raises InfraError when damaged."""
    found: dict[Cell, dict[str, Any]] = {}
    if not path.exists():
        return found
    for number, line in enumerate(path.read_text().splitlines(), 1):
        try:
            value = json.loads(line)
            found[Cell(**value["cell"])] = value
        except (ValueError, KeyError, TypeError) as error:
            raise InfraError(f"{path}:{number} is damaged ({error}); remove the line") from error
    return found


def run(cell: Cell, out: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Run a cell; returns the line of the file."""
    shutil.rmtree(out, ignore_errors=True)
    words = cell.words(options.iterations, options.seconds)
    done = subprocess.run(
        [sys.executable, "-m", "shootdown.cli", *words, f"--out={out}"],
        capture_output=True,
        text=True,
        check=False,
    )
    outcome: dict[str, Any] = {"cell": asdict(cell), "exit": done.returncode, "commit": _commit()}
    if (out / "result.json").exists():
        outcome |= verdicts.figures(json.loads((out / "result.json").read_text()))
    else:
        outcome["reasons"] = done.stderr.strip().splitlines()[-1:]
    if done.returncode == ExitCode.PASS or verdicts.skipped(outcome):
        shutil.rmtree(out, ignore_errors=True)
    return outcome


def _commit() -> str:
    return subprocess.run(
        ["git", "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()


def _campaign(options: argparse.Namespace) -> None:
    done = known(options.state)
    wanted = [cell for cell in cells(options.kernels, options.only) if cell not in done]
    options.state.parent.mkdir(parents=True, exist_ok=True)
    options.runs.mkdir(parents=True, exist_ok=True)

    def one(cell: Cell) -> tuple[Cell, dict[str, Any]]:
        name = f"{cell.kernel}-{cell.arch}-{cell.what}".replace(":", "-")
        return cell, run(cell, options.runs / name, options)

    with ThreadPoolExecutor(options.jobs) as pool, options.state.open("a") as state:
        asked = [pool.submit(one, cell) for cell in wanted]
        for number, future in enumerate(as_completed(asked), 1):
            cell, outcome = future.result()
            # Where nothing ran, or QEMU gave up, it is to be run again.
            if "rules" in outcome and outcome["exit"] != ExitCode.INFRA:
                state.write(json.dumps(outcome, separators=(",", ":")) + "\n")
                state.flush()
            word = f"exit {outcome['exit']}: {'; '.join(outcome.get('reasons', []))}"
            print(
                f"{number}/{len(wanted)} {cell.kernel} {cell.arch} {cell.what}: {word}", flush=True
            )


def main() -> int:
    """Run what is missing and write the document; returns the exit code."""
    parser = argparse.ArgumentParser(prog="shootdown.bench.campaign")
    parser.add_argument("--state", type=Path, default=Path("docs/verdicts.jsonl"))
    parser.add_argument("--runs", type=Path, default=Path("runs/campaign"))
    parser.add_argument("--out", type=Path, default=Path("docs/verdicts.md"))
    parser.add_argument("--only", default="*", help="pattern of 'KERNEL ARCH WHAT'")
    parser.add_argument("--iterations", type=int, default=ITERATIONS)
    parser.add_argument("--seconds", type=int, default=SECONDS)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("kernels", nargs="*", default=list(KERNELS), help="as --kernel takes them")
    options = parser.parse_args()
    try:
        _campaign(options)
        outcomes = list(known(options.state).values())
    except ShootdownError as error:
        print(f"shootdown: error: {error}", file=sys.stderr)
        return int(error.exit_code)
    planned = [asdict(cell) for cell in cells(KERNELS, "*")]
    options.out.write_text(verdicts.document(outcomes, planned), encoding="utf-8")
    print(f"wrote {options.out}")
    return int(ExitCode.VIOLATION if any(verdicts.failed(o) for o in outcomes) else ExitCode.PASS)


if __name__ == "__main__":
    sys.exit(main())
