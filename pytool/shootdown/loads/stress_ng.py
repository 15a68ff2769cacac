"""stress-ng's stressors as loads: which there are, how each is run, and how it says what it did.

A load is named ``stress-ng:STRESSOR``. Its exit status says little: 0 also when the stressor was
left out for want of something. What it did is in the YAML file that it writes at its end, of which
the guest shows the text; the guest is not trusted, so nothing but names and numbers is read there.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from shootdown.errors import UsageError

PACKAGE: Final = "stress-ng"
RESULTS: Final = "/tmp/load.yaml"
"""Where, in the guest, a stressor leaves its figures."""

# doc of stress-ng(1), EXIT STATUS: out of resources, not implemented.
_UNAVAILABLE: Final = (3, 4)
_METRIC: Final = re.compile(r"^ +(?:- )?([a-z-]+): ([A-Za-z0-9.-]+)$", re.MULTILINE)


@dataclass(frozen=True)
class Stressor:
    """How a stressor is run; ``about`` is what of the memory management it stresses."""

    about: str
    options: tuple[str, ...] = ()
    instances: int = 2
    name: str = ""
    """stress-ng's word for it, when the load goes by another one."""
    swap: int = 0
    """MiB of swap that it needs."""
    not_on: tuple[str, ...] = ()
    """Architectures on which it does not work at all; there no pattern means it."""


_MEGABYTES: Final = "32M"

# Sizes leave room for two instances in a guest of 512 MiB. What would write more page-table entries
# in a minute than can be checked in an hour is bounded by its operations (``-ops``).
STRESSORS: Final[Mapping[str, Stressor]] = {
    "brk": Stressor("grows and shrinks the heap"),
    "clone": Stressor("clone() with random flags, address spaces shared and not"),
    "fork": Stressor("fork() and exit"),
    "ksm": Stressor("vm with kernel samepage merging", ("--ksm", "--vm-bytes", "16M"), 2, "vm"),
    "madvise": Stressor("random advice, by several threads"),
    "memfd": Stressor("memory files mapped, punched and unmapped", ("--memfd-bytes", _MEGABYTES)),
    "mincore": Stressor("mincore() over random addresses"),
    "mlock": Stressor("mlock(), munlock() and mlockall()"),
    "mmap": Stressor("maps, protects, advises and unmaps", ("--mmap-bytes", _MEGABYTES)),
    "mmapaddr": Stressor("maps at random addresses"),
    "mmapfixed": Stressor("MAP_FIXED at every power of two"),
    "mmapfork": Stressor("maps much in children of a fork", ("--mmapfork-bytes", _MEGABYTES)),
    "mmaphuge": Stressor("huge pages, of hugetlbfs when the kernel has some"),
    "mprotect": Stressor("random protections, accesses that fault"),
    "mremap": Stressor("grows, shrinks and moves mappings", ("--mremap-bytes", _MEGABYTES)),
    "msync": Stressor("msync() of a shared file mapping"),
    "munmap": Stressor("unmaps its own libraries page by page"),
    "numa": Stressor("mbind(), migrate_pages(), move_pages()"),
    "page-in": Stressor(
        "mmap with pages touched again that are not resident",
        ("--page-in", "--mmap-bytes", _MEGABYTES),
        2,
        "mmap",
    ),
    "pagemove": Stressor("shuffles pages by mremap()"),
    "pageswap": Stressor("pages swapped out by MADV_PAGEOUT, and in again", swap=512),
    "pressure": Stressor(
        "vm with more memory than the guest has: reclaim", ("--vm-bytes", "600M"), 2, "vm", 768
    ),
    "remap": Stressor("remap_file_pages()"),
    "rmap": Stressor("one file mapped many times by many processes"),
    "shm": Stressor("POSIX shared memory"),
    "shm-sysv": Stressor("System V shared memory"),
    "stack": Stressor("grows the stack until it faults"),
    "tlb-shootdown": Stressor(
        "mprotect() of 32 MiB that processes on all CPUs read", ("--tlb-shootdown-ops", "3000")
    ),
    "userfaultfd": Stressor("pages handed out by a thread through userfaultfd"),
    # On arm64 its processes die of SIGILL at once, with and without the plugin.
    "vfork": Stressor("vfork(): parent and child share an address space", not_on=("arm64",)),
    "vm": Stressor("writes and verifies much memory", ("--vm-bytes", _MEGABYTES)),
    "vm-segv": Stressor("unmaps all it can reach of itself"),
    "vma": Stressor("threads map, protect, advise, lock and unmap the same addresses"),
}


def choose(load: str, arch: str) -> list[str]:
    """Stressors that ``stress-ng:PATTERN[,PATTERN...]`` names on an architecture, in their order.

    Raises UsageError for another form, or a pattern that matches nothing.
    """
    program, colon, patterns = load.partition(":")
    if program != PACKAGE or not colon:
        raise UsageError(f"load {load!r} is none: write {PACKAGE}:STRESSOR[,STRESSOR...]")
    chosen: dict[str, None] = {}
    for pattern in patterns.split(","):
        usable = [
            name for name in STRESSORS if name == pattern or arch not in STRESSORS[name].not_on
        ]
        matching = fnmatch.filter(usable, pattern)
        if not matching:
            known = ", ".join(STRESSORS)
            raise UsageError(f"no stressor of {PACKAGE} is called {pattern!r}; known are {known}")
        chosen |= dict.fromkeys(matching)
    return list(chosen)


def arguments(name: str, seconds: int, seed: int) -> list[str]:
    """stress-ng's arguments that run a stressor of ``STRESSORS`` for so long."""
    stressor = STRESSORS[name]
    return [
        *(f"--{stressor.name or name}", str(stressor.instances), *stressor.options),
        *("--timeout", str(seconds), "--seed", str(seed)),
        *("--metrics", "--yaml", RESULTS, "--temp-path", "/tmp"),
    ]


def kernel_arguments(names: list[str]) -> tuple[str, ...]:
    """What the guest's kernel must be told for the stressors to find what they need."""
    return ("hugepages=16",) if "mmaphuge" in names else ()


def swap(names: list[str]) -> int:
    """MiB of swap that the stressors need."""
    return max((STRESSORS[name].swap for name in names), default=0)


def figures(yaml: str) -> dict[str, str]:
    """What ``RESULTS`` says of the stressor that ran: operations and seconds; {} if none did."""
    _, found, metrics = yaml.partition("\nmetrics:")
    values = dict(_METRIC.findall(metrics)) if found else {}
    if "stressor" not in values:
        return {}
    keep = ("bogo-ops", "wall-clock-time", "user-time", "system-time", "max-rss")
    return {key: values[key] for key in keep if key in values}


def cut_short(name: str, found: Mapping[str, str], seconds: int) -> bool:
    """Whether the stressor ended long before its time, as it does when its processes are killed."""
    bounded = any(option.endswith("-ops") for option in STRESSORS[name].options)
    return not bounded and 2 * float(found.get("wall-clock-time", 0)) < seconds


def skipped(status: int, found: Mapping[str, str]) -> bool:
    """Whether the stressor could not run here."""
    return status in _UNAVAILABLE or (status == 0 and not found)
