"""From the points of a plan to instructions of the kernel at hand."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from shootdown.errors import UsageError
from shootdown.kernel import scan
from shootdown.kernel.facts import KernelFacts
from shootdown.race.points import Plan, Point, nearest
from shootdown.race.spec import Spec
from shootdown.race.survey import Site, Survey, belongs

_FORKS: Final = ("fork", "vfork", "clone", "clone3")
"""System calls that may fork: which one does depends on the C library."""
_SUFFIX: Final = re.compile(r"(\.(isra|constprop|part|llvm)(\.\d+)?)*")
"""What a compiler may add to a function's name; ``.cold`` is no entry of it."""
_OR: Final = "|"
"""Between names one of which a kernel may have."""
_NO_FUNCTION: Final = re.compile(r"\.|^__(pfx|ksymtab|kstrtab|SCT|SCK|cfi)_")
_SEEN: Final = ("pte_write", "flush", "root_load", "load", "store")


@dataclass(frozen=True)
class Traps:
    """A point as instructions."""

    point: Point
    vas: frozenset[int]
    """VAs at which it is looked whether the point is reached; of ``return`` there is none."""
    gates: frozenset[int]
    """Entries of the functions one of which the thread must be in; empty: it may be anywhere."""

    def moved(self, slide: int) -> Traps:
        """The same in a kernel that KASLR has moved by ``slide`` bytes; user mode stays."""
        return Traps(self.point, _moved(self.vas, slide), _moved(self.gates, slide))


def _moved(vas: frozenset[int], slide: int) -> frozenset[int]:
    return frozenset(va + slide if va >> 63 else va for va in vas)


def needs_survey(plan: Plan) -> bool:
    """Whether the plan has points that only a recording can place."""
    return any(point.event in _SEEN or point.of != "any" for point in plan.points())


def resolve(point: Point, facts: KernelFacts, spec: Spec, survey: Survey | None) -> Traps:
    """The instructions of a point.

    ``survey`` is that of the kernel and workload; None where the plan needs none. Raises UsageError
    with the nearest candidates when the kernel has no such place.
    """
    gates = _entries(point.within, facts, spec) if point.within else []
    match point.event:
        case "enter":
            vas = _entries(point.function, facts, spec)
        case "return":
            vas, gates = [], _entries(point.function, facts, spec)
        case "call":
            vas = list(_calls(point, facts, spec))
        case _:
            vas = [site.pc for site in _seen(point, survey or Survey(()))]
    return Traps(point, frozenset(vas), frozenset(gates))


def places(traps: Traps, facts: KernelFacts) -> list[str]:
    """Where the traps are, for people; user mode by its VA alone."""
    return sorted(_place(va, facts) for va in traps.vas or traps.gates)


def _place(va: int, facts: KernelFacts) -> str:
    if not va >> 63:
        return f"{va:#x}"
    name, offset = facts.symbols.at(va)
    return f"{name}+{offset:#x}" if offset else name


def _entries(name: str, facts: KernelFacts, spec: Spec) -> list[int]:
    """First instructions of a system call or of a function, or of several; raises UsageError."""
    if _OR in name:
        found = []
        for each in name.split(_OR):
            with contextlib.suppress(UsageError):
                found += _entries(each, facts, spec)
        if not found:
            raise UsageError(f"the kernel {facts.release} has none of {name}")
        return found
    symbols = facts.symbols
    calls = _FORKS if name == "fork" else (name,)
    if found := [
        symbols.va(spec.syscall + call) for call in calls if spec.syscall + call in symbols
    ]:
        return found
    if named := [n for n in symbols if n.startswith(name) and _SUFFIX.fullmatch(n[len(name) :])]:
        return sorted({va for each in named for va in symbols.all_of(each)})
    inlined = f"; it may be inlined in kernel {facts.release}"
    raise UsageError(
        f"the kernel has no system call and no function {name}"
        f"{nearest(name, _alike(name, facts, spec)) or inlined}"
    )


def _alike(name: str, facts: KernelFacts, spec: Spec) -> list[str]:
    # All symbols are too many to compare with; those that share half the name's beginning are not.
    calls = [n.removeprefix(spec.syscall) for n in facts.symbols if n.startswith(spec.syscall)]
    start = name[: max(3, len(name) // 2)]
    return calls + [n for n in facts.symbols if start in n and not _NO_FUNCTION.search(n)]


def _calls(point: Point, facts: KernelFacts, spec: Spec) -> Iterator[int]:
    _entries(point.function, facts, spec)
    names = [name for name in point.function.split(_OR) if name in facts.symbols]
    sites = [site for name in names for site in scan.callers(facts, name)]
    inside = [s for s in sites if not point.inside or _is(s.function, point.inside)]
    if not inside:
        callers = sorted({site.function for site in sites})
        raise UsageError(
            f"the kernel has no call of {point.function} in {point.inside or 'its text'}"
            + (f"; it is called by {', '.join(callers[:12])}" if callers else "; it is inlined")
        )
    for site in inside:
        if point.when == "before":
            yield site.va
        else:
            (call,) = scan.disassemble(facts, site.va, 1)
            yield site.va + len(call.data)


def _is(symbol: str, name: str) -> bool:
    return any(
        symbol.startswith(each) and _SUFFIX.fullmatch(symbol[len(each) :]) is not None
        for each in name.split(_OR)
    )


def _seen(point: Point, survey: Survey) -> list[Site]:
    sites = survey.of(point.event)
    found = [s for s in sites if belongs(s.old, point.old) and belongs(s.new, point.new)]
    if not found:
        raise UsageError(
            f"no instruction was seen to do this: {point}; a recording of the workload shows "
            f"{_shown(sites, point.event)}"
        )
    return found


def _shown(sites: Iterable[Site], event: str) -> str:
    if event != "pte_write":
        return "none at all"
    return ", ".join(sorted({f"{s.old} -> {s.new}" for s in sites})) or "no change of an entry"
