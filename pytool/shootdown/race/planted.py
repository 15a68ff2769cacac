"""Races that were planted: a kernel with a known bug, and a script that gives it what it needs.

They measure how good scripts and policies are at finding races. What a kernel is changed to is in
``kernel.mutations*`` and ``images/variants``; the scripts are in the library of races.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from shootdown.race import find
from shootdown.race.points import Plan
from shootdown.report.result import Result

BOTH: Final = ("x86_64", "arm64")
X86_64: Final = ("x86_64",)
ARM64: Final = ("arm64",)
_STALE: Final = ("stale-after-return", "free-before-flush")
_MAP_FIXED: Final = ("mmap", "mmap(MAP_FIXED)")
_FORK: Final = ("fork", "vfork", "clone", "clone3")


@dataclass(frozen=True)
class Planted:
    """One bug and its script."""

    bug: str
    """Mutation of a stock kernel, or variant of a built one, and what is raced with."""
    about: str
    script: str
    """What ``race.find`` calls it."""
    rules: tuple[str, ...]
    """A violation of any of them, at one of ``sites``, is the bug found."""
    sites: tuple[str, ...] = ()
    """System calls; empty: anywhere."""
    arch: tuple[str, ...] = BOTH
    kernel: str = "debian:6.12"
    mutate: str = ""

    def plan(self) -> Plan:
        """The script's schedule. Raises UsageError when the library has no such race."""
        (found,) = find.find(self.script)
        return found.plan

    def hit(self, result: Result) -> bool:
        """Whether a trial has found the bug."""
        return any(
            violation.complete
            and violation.rule in self.rules
            and (not self.sites or violation.site in self.sites)
            for violation in result.violations
        )


def _mutated(mutate: str, operation: str, about: str, script: str, **others: object) -> Planted:
    sites = {"map_fixed": _MAP_FIXED, "fork": _FORK}.get(operation, (operation,))
    known: dict[str, object] = {"rules": _STALE, "sites": sites, **others}
    return Planted(
        bug=f"{mutate}/{operation}",
        about=about,
        script=script,
        mutate=mutate,
        **known,  # type: ignore[arg-type]
    )


def _built(variant: str, operation: str, about: str, script: str, **others: object) -> Planted:
    made = _mutated(variant, operation, about, script, **others)
    return Planted(**{**vars(made), "mutate": "", "kernel": f"built:6.12+{variant}"})


PLANTED: Final = (
    _mutated("no-flush", "munmap", "nothing is flushed", "planted_flush::read_before_munmap"),
    _mutated("no-flush", "map_fixed", "nothing is flushed", "planted_flush::read_before_map_fixed"),
    _mutated(
        "mprotect-no-flush",
        "mprotect",
        "mprotect does not flush",
        "planted_flush::written_before_mprotect",
    ),
    _mutated("fork-no-flush", "fork", "fork does not flush", "planted_flush::written_before_fork"),
    _mutated(
        "madvise-no-flush",
        "madvise",
        "MADV_DONTNEED does not flush",
        "planted_flush::read_before_madvise",
        arch=X86_64,
    ),
    _mutated(
        "local-flush", "munmap", "only the own CPU is flushed", "planted_flush::read_before_munmap"
    ),
    _mutated(
        "local-flush",
        "map_fixed",
        "only the own CPU is flushed",
        "planted_flush::read_before_map_fixed",
    ),
    _mutated(
        "first-page-only",
        "munmap",
        "of a range only the first page is flushed",
        "planted_flush::read_before_munmap",
        arch=X86_64,
    ),
    _mutated(
        "flush-no-wait",
        "munmap",
        "the flush of others is not waited for",
        "planted_wait::munmap_goes_on",
    ),
    _mutated(
        "flush-no-wait",
        "map_fixed",
        "the flush of others is not waited for",
        "planted_wait::map_fixed_goes_on",
    ),
    _mutated(
        "flush-no-wait",
        "mprotect",
        "the flush of others is not waited for",
        "planted_wait::mprotect_goes_on",
        arch=X86_64,
    ),
    _mutated(
        "flush-no-wait",
        "fork",
        "the flush of others is not waited for",
        "planted_wait::fork_goes_on",
        arch=X86_64,
    ),
    _mutated(
        "lazy-stays",
        "map_fixed",
        "a CPU that was lazy does not catch up",
        "planted_lazy::reader_sleeps_through_flush",
        arch=X86_64,
        rules=("lazy-reactivation", *_STALE),
        sites=(),
    ),
    _mutated(
        "lazy-skip",
        "munmap",
        "lazy CPUs are left out when page tables are freed",
        "planted_lazy::tables_go_while_lazy",
        arch=X86_64,
        rules=("table-free-before-flush",),
        sites=(),
    ),
    _mutated(
        "leaf-flush",
        "munmap",
        "freed page tables stay in walk caches",
        "planted_flush::read_before_munmap",
        arch=ARM64,
        rules=("table-free-before-flush", "stale-after-return"),
        sites=(),
    ),
    _mutated(
        "nested-no-flush",
        "madvise",
        "who finds entries clear does not flush for who cleared them",
        "planted_nested::dropped_twice",
        arch=X86_64,
    ),
    _mutated(
        "nested-no-flush",
        "mremap",
        "who finds entries clear does not flush for who cleared them",
        "planted_nested::moved_after_drop",
        arch=X86_64,
        sites=("madvise",),  # the call that took the pages away; mremap is the one that promises
        kernel="debian:7.2",
    ),
    _mutated(
        "vma-detached-unchecked",
        "munmap",
        "a fault takes a VMA that is no longer in the tree",
        "planted_vma::found_then_unmapped",
        rules=("dead-vma-install",),
        sites=(),
    ),
    _mutated(
        "vma-detached-unchecked",
        "mremap",
        "a fault takes a VMA that is no longer in the tree",
        "planted_vma::found_then_moved",
        rules=("dead-vma-install",),
        sites=(),
    ),
    _mutated(
        "vma-bounds-unchecked",
        "mprotect",
        "a fault takes a VMA that no longer reaches to its address",
        "planted_vma::found_then_split",
        rules=("dead-vma-install", "spurious-fault"),
        sites=(),
    ),
    _built(
        "mapfixed-noflush",
        "map_fixed",
        "MAP_FIXED does not flush",
        "planted_flush::read_before_map_fixed",
        arch=X86_64,
    ),
    _built(
        "mprotect-noflush",
        "mprotect",
        "mprotect does not flush",
        "planted_flush::written_before_mprotect",
    ),
    _built(
        "tlbi-no-dsb",
        "munmap",
        "no DSB behind the TLBIs of a range",
        "planted_wait::munmap_goes_on",
        arch=ARM64,
    ),
)
"""All of them; a new one is a line here, its mutation and its script."""


def cells() -> Iterator[tuple[Planted, str]]:
    """Every planted race on every architecture it is for."""
    return ((planted, arch) for planted in PLANTED for arch in planted.arch)
