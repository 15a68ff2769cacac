"""Finding what to change in kernel text: functions, their instructions, calls."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from shootdown.errors import InfraError
from shootdown.kernel import scan
from shootdown.kernel.facts import KernelFacts
from shootdown.kernel.mutations import Patch
from shootdown.kernel.mutations_edit import NOPS
from shootdown.kernel.scan import Instruction

SUFFIX: Final = r"(\.[a-z]+(\.\d+)?)*"
"""What compilers add to names of functions."""
_MEMORY: Final = re.compile(r"\[(\w+)(?:(?: \+ |, #)(0x[0-9a-f]+|\d+))?\]")


def functions(facts: KernelFacts, names: str) -> Iterator[int]:
    """VAs of the functions that a pattern of names matches, with whatever suffix; in order."""
    pattern = re.compile(f"({names}){SUFFIX}")
    found = {
        va for name in facts.symbols if _is(pattern, name) for va in facts.symbols.all_of(name)
    }
    return iter(sorted(found))


def _is(pattern: re.Pattern[str], name: str) -> bool:
    return ".cold" not in name and pattern.fullmatch(name) is not None


def body(facts: KernelFacts, va: int) -> list[Instruction]:
    """The instructions of the function at ``va``."""
    return scan.function(facts, va)


def code(facts: KernelFacts, names: str) -> list[Instruction]:
    """The instructions of the functions that a pattern of names matches; empty for none."""
    return [step for va in functions(facts, names) for step in body(facts, va)]


def calls_of(facts: KernelFacts, callee: str, callers: str) -> list[Instruction]:
    """The calls of the function ``callee`` by ``callers``, a pattern of names."""
    wanted = set(facts.symbols.all_of(callee)) if callee in facts.symbols else set()
    return [
        step
        for start in functions(facts, callers)
        for step, called in calls(facts, start)
        if called in wanted
    ]


def without_calls(facts: KernelFacts, callees: str, callers: str) -> list[Patch]:
    """Calls of ``callees`` by ``callers`` (patterns of names) become NOPs.

    Raises InfraError when there is no such call: then it was inlined.
    """
    found = dropped(facts, callees, functions(facts, callers))
    return needed(facts, found, f"call of {callees} in {callers}")


def dropped(facts: KernelFacts, callees: str, starts: Iterable[int]) -> list[Patch]:
    """Calls of ``callees`` in the functions at ``starts`` become NOPs, if there are any."""
    wanted = set(functions(facts, callees))
    return [
        Patch(step.va, step.data, NOPS[facts.arch], _without(facts, step.va, called))
        for start in starts
        for step, called in calls(facts, start)
        if called in wanted
    ]


def _without(facts: KernelFacts, va: int, called: int) -> str:
    return f"no call of {facts.symbols.at(called)[0]} at {place(facts, va)}"


def calls(facts: KernelFacts, start: int) -> Iterator[tuple[Instruction, int]]:
    """The direct calls in the function at ``start``, and the VA each of them calls."""
    for step in body(facts, start):
        if step.mnemonic in ("call", "bl") and (target := _number(step.operands)) is not None:
            yield step, target


def needed(facts: KernelFacts, patches: Iterable[Patch], what: str) -> list[Patch]:
    """The patches, in order of VA. Raises InfraError when there are none."""
    found = sorted(patches, key=lambda patch: patch.va)
    if not found:
        raise InfraError(
            f"the text of {facts.release} has no {what}; it cannot be changed that way"
        )
    return found


def place(facts: KernelFacts, va: int) -> str:
    """A VA of the text in words."""
    name, offset = facts.symbols.at(va)
    return f"{name}+{offset:#x}"


def accesses(step: Instruction) -> Iterator[tuple[str, int]]:
    """Register and distance in bytes of what an instruction finds in memory by them."""
    for base, offset in _MEMORY.findall(step.operands):
        yield base, int(offset or "0", 0)


def target(step: Instruction) -> int | None:
    """Where a direct jump goes; None for any other instruction."""
    return _number(step.operands)


def _number(operands: str) -> int | None:
    try:
        return int(operands.lstrip("#"), 16) if operands.lstrip("#").startswith("0x") else None
    except ValueError:
        return None
