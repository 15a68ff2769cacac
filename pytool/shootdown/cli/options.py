"""Options that several commands share."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from shootdown import arch
from shootdown.arch import profiles
from shootdown.kernel import groups
from shootdown.race import policies
from shootdown.run.experiment import Experiment

DEFAULT: Final = Experiment(arch="x86_64")

Parser = argparse.ArgumentParser | argparse._ArgumentGroup


def add_kernel(parser: Parser, default: str = DEFAULT.kernel) -> None:
    """Which kernel runs; ``default`` is for the help."""
    parser.add_argument(
        "--kernel",
        metavar="SPEC",
        help="debian:VERSION, built:VERSION[+VARIANT], a build tree, an image or a .deb "
        f"(default: {default})",
    )


def add_workload(parser: Parser) -> None:
    """Which workloads run."""
    parser.add_argument(
        "--workload",
        dest="workloads",
        metavar="GLOB",
        help="workloads to run, patterns with commas between (default: all)",
    )


def add_load(parser: Parser) -> None:
    """Which loads of the distribution's run, and for how long."""
    parser.add_argument(
        "--load",
        metavar="stress-ng:GLOB",
        help="stressors of stress-ng to run instead of workloads, patterns with commas between",
    )
    parser.add_argument(
        "--seconds",
        type=number,
        metavar="N",
        help=f"how long each load runs in the guest (default: {DEFAULT.seconds})",
    )


def add_profile(parser: Parser) -> None:
    """How guest and CPU differ from the default."""
    known = "; ".join(f"{name}: {profiles.known(arch.get(name))}" for name in arch.names())
    parser.add_argument(
        "--profile", metavar="NAME[,NAME...]", help=f"configure guest and CPU ({known})"
    )


def add_mutate(parser: Parser) -> None:
    """What is broken on purpose."""
    parser.add_argument(
        "--mutate",
        metavar="NAME",
        help="change the kernel's text at run time: no-flush, ... (docs/mutations.md)",
    )


def add_snapshot(parser: Parser) -> None:
    """What a guest starts from."""
    parser.add_argument(
        "--snapshot",
        metavar="auto|off",
        help=f"start from a saved guest, or boot (default: {DEFAULT.snapshot})",
    )


def add_effort(parser: Parser) -> None:
    """How long and how random."""
    parser.add_argument(
        "--iterations",
        type=number,
        metavar="N",
        help="iterations of each workload (default: each its own number)",
    )
    for name, what in (
        ("seed", "seed of workloads and QEMU"),
        ("timeout", "seconds for each workload"),
    ):
        parser.add_argument(
            f"--{name}",
            type=number,
            metavar="N",
            help=f"{what} (default: {getattr(DEFAULT, name)})",
        )


def add_experiment(
    parser: argparse.ArgumentParser,
    kernel: str = DEFAULT.kernel,
    architecture: str = DEFAULT.arch,
) -> None:
    """Everything that describes one recording; two defaults are for the help."""
    what = parser.add_argument_group("what runs")
    add_kernel(what, kernel)
    what.add_argument("--arch", help=f"one of {', '.join(arch.names())} (default: {architecture})")
    add_workload(what)
    add_load(what)
    what.add_argument("--rootfs", metavar="DIR", help="files to add to the guest's root")
    add_profile(what)
    add_mutate(what)
    what.add_argument("--append", metavar="ARGS", help="more kernel arguments")
    what.add_argument(
        "--plan", type=Path, metavar="FILE", help="repeat an experiment; other options override it"
    )
    how = parser.add_argument_group("how it runs")
    add_effort(how)
    how.add_argument("--smp", type=number, metavar="N", help=f"vCPUs (default: {DEFAULT.smp})")
    how.add_argument(
        "--mem",
        type=number,
        metavar="MIB",
        help=f"RAM (default: {DEFAULT.mem}, or what a variant needs)",
    )
    how.add_argument(
        "--swap",
        type=number,
        metavar="MIB",
        help="swap, on a disk of its own (default: as the load needs)",
    )
    how.add_argument("--disk", type=number, metavar="MIB", help="a disk for workloads (none)")
    how.add_argument(
        "--options", metavar="KEY=N[,...]", help="options of the workloads: docs/workloads.md"
    )
    how.add_argument(
        "--events",
        metavar="GROUP[,GROUP...]",
        help=f"event groups to record: default, all, none, {', '.join(groups.GROUPS)}",
    )
    how.add_argument(
        "--thread", metavar="multi|single", help=f"TCG threads (default: {DEFAULT.thread})"
    )
    how.add_argument(
        "--deterministic",
        action="store_const",
        const=True,
        help="the same seed gives the same trace; slower, with --thread single",
    )
    how.add_argument(
        "--inject",
        metavar="POLICY|FILE",
        help=f"delay vCPUs at points of the kernel: {', '.join(policies.POLICIES)}, or delays.toml",
    )
    add_snapshot(how)
    how.add_argument(
        "--no-plugin",
        dest="plugin",
        action="store_const",
        const=False,
        help="record nothing; the kernel runs under plain TCG",
    )
    for name in ("--test-drop-store", "--test-delay-us"):  # for tests of shootdown itself
        how.add_argument(name, type=number, help=argparse.SUPPRESS)
    how.add_argument("--dry-run", action="store_true", help="print the QEMU line and stop")


def add_policy(parser: argparse.ArgumentParser) -> None:
    """How the trace is judged."""
    parser.add_argument(
        "--policy",
        metavar="wilcox|glisse",
        help="tolerate aliases until the system call returns, or never (default: wilcox)",
    )


def add_bbm(parser: argparse.ArgumentParser) -> None:
    """What arm64's break-before-make is judged for."""
    parser.add_argument(
        "--bbm",
        type=number,
        metavar="0|1|2",
        help="level of FEAT_BBM of the CPUs that the kernel is for (arm64, default: 0); "
        "2 tolerates changes of size and contiguity",
    )


def add_live(parser: argparse.ArgumentParser) -> None:
    """Whether the trace is checked while it is recorded, and what a violation does."""
    when = parser.add_argument_group("when it is checked")
    when.add_argument(
        "--check-live",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="check while recording, or afterwards (default: while recording)",
    )
    when.add_argument(
        "--stop-on-violation",
        action="store_true",
        help="end the run at the first violation, as soon as it is seen",
    )
    when.add_argument(
        "--pause",
        action="store_true",
        help="the same, but leave the guest stopped for gdb and drgn until ^C",
    )


def add_out(parser: argparse.ArgumentParser) -> None:
    """Where the run directory is made."""
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="run directory, new (default: runs/NNNN-ARCH)"
    )


def add_report(parser: argparse.ArgumentParser, default: str = "text") -> None:
    """What is printed; by ``default`` none for an empty string."""
    parser.add_argument(
        "--format",
        choices=("text", "ktap"),
        default=default,
        help=f"report printed (default: {default or 'none'})",
    )
    add_json(parser)


def add_json(parser: argparse.ArgumentParser) -> None:
    """Machine output; main() turns a lone --json into --json=-."""
    parser.add_argument(
        "--json",
        metavar="FILE",
        help="--json=FILE: write JSON there as well; --json: print it instead of text",
    )


def number(text: str) -> int:
    """A decimal or 0x number."""
    return int(text, 0)
