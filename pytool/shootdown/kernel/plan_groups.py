"""The lines of a plan that event groups ask for, and what of them a kernel does not have."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from shootdown.errors import InfraError
from shootdown.kernel.facts import KernelFacts
from shootdown.kernel.groups.base import Group, Traced, Word
from shootdown.kernel.plan_spec import Registers

_NAMED: Final = re.compile(r"\{([^}]+)\}")
_POINTER_BYTES: Final = 8


@dataclass(frozen=True)
class Resolved:
    """A group, as a kernel has it."""

    group: Group
    absent: tuple[str, ...]
    """Functions, members and variables of the group that the kernel does not have."""
    refused: str
    """Why the group cannot be recorded at all; empty when it is."""


def resolve(facts: KernelFacts, group: Group) -> Resolved:
    """What the kernel has of a group."""
    lacks = [one_of for one_of in group.needs if not any(map(facts.has, one_of))]
    refused = "; ".join(f"the kernel has no {' and no '.join(names)}" for names in lacks)
    refused = refused or _why_not(facts, group)
    here = (traced for traced in group.functions if _recorded(facts, traced))
    wanted = [traced.function.name for traced in here]
    wanted += [name for word in group.words for name in (word.member, word.via) if name]
    wanted += [word.member for word in group.percpu]
    wanted += [word.symbol for word in group.variables]
    absent = [name for name in wanted if not facts.has(name)]
    told = {name for call in group.calls for name in call.of}
    absent += [f"{name} inside {host}" for name, host in facts.inlined.items() if name in told]
    return Resolved(group, tuple(dict.fromkeys(absent + _unnamed(facts, group))), refused)


def _unnamed(facts: KernelFacts, group: Group) -> list[str]:
    """What the actions at the kernel's functions name and it does not have."""
    here = [traced for traced in group.functions if facts.has(traced.function.name)]
    texts = [text for traced in here for text in traced.at_entry + traced.at_return]
    names = [name for text in texts for name in _NAMED.findall(text) if "." in name]
    return [name for name in names if name not in facts.members and name not in facts.constants]


def _why_not(facts: KernelFacts, group: Group) -> str:
    """Why the group's own lines cannot be made; empty when they can."""
    try:
        list(group.extra(facts) if group.extra else ())
    except InfraError as error:
        return str(error)
    return ""


def lines(facts: KernelFacts, registers: Registers, groups: Iterable[Group]) -> Iterator[str]:
    """The plan's lines of all groups that the kernel has; a refused one is named in a comment."""
    kept: list[Group] = []
    for found in (resolve(facts, group) for group in groups):
        if found.refused:
            yield f"# not recorded: {found.group.name}: {found.refused}"
            continue
        yield f"# events: {found.group.name}" + _without(found.absent)
        kept.append(found.group)
    extra = (line for group in kept if group.extra for line in group.extra(facts))
    yield from dict.fromkeys(extra)
    for word in dict.fromkeys(word for group in kept for word in group.words):
        yield from _word(facts, word)
    for percpu in dict.fromkeys(word for group in kept for word in group.percpu):
        if facts.has(percpu.member):
            yield f"{percpu.line(facts)}  # {percpu.variable}, {percpu.member}"
    for variable in dict.fromkeys(word for group in kept for word in group.variables):
        if facts.has(variable.symbol):
            yield f"watch {variable.watch:d} {facts.va(variable.symbol):#x} {variable.size} 0"
    for traced in (one for one in _merged(kept) if _recorded(facts, one)):
        yield from _function(facts, registers, traced)


def _without(absent: tuple[str, ...]) -> str:
    return f" (the kernel has no {', '.join(absent)})" if absent else ""


def _merged(groups: Iterable[Group]) -> Iterator[Traced]:
    """Each function once, with what every group wants of it."""
    wanted: dict[int, Traced] = {}
    for traced in (traced for group in groups for traced in group.functions):
        other = wanted.get(traced.function, traced)
        # Members are read behind the arguments, so who wants them says how many those are.
        reader = traced if traced.reads else other
        wanted[traced.function] = Traced(
            traced.function,
            reader.arguments if reader.reads else max(traced.arguments, other.arguments),
            reader.reads,
            tuple(dict.fromkeys(other.at_entry + traced.at_entry)),
            tuple(dict.fromkeys(other.at_return + traced.at_return)),
            traced.silent and other.silent,
            traced.unless or other.unless,
            traced.inlined or other.inlined,
            traced.embedded or other.embedded,
        )
    yield from wanted.values()


def _word(facts: KernelFacts, word: Word) -> Iterator[str]:
    try:
        member = facts.member(word.narrow if facts.has(word.narrow) else word.member)
        base = facts.member(word.via) if word.via else None
    except InfraError:
        return  # named among what is absent
    offset, how = member.offset, " always" if word.lock else ""
    if base is not None and base.size == _POINTER_BYTES:
        how = f" via {base.offset:#x}"
    elif base is not None:
        offset += base.offset
    size = word.size or member.size
    yield f"set {word.objects:d} {word.watch:d} {offset:#x} {size}{how}  # {word.member}"


def _read(facts: KernelFacts, registers: Registers, argument: int, path: str) -> str:
    """The capture of a member; the register's own value where the kernel has no such member."""
    register = registers.arguments[argument]
    if not facts.has(path):
        return register
    member = facts.member(path)
    return f"{register}+{member.offset:#x}:{member.size}"


def _function(facts: KernelFacts, registers: Registers, traced: Traced) -> Iterator[str]:
    places = facts.functions.get(traced.function.name)
    if places is None:
        return
    number, stack, result = int(traced.function), registers.stack, registers.result
    # The event first: what begins or ends with it is told behind it.
    wanted = traced.at_entry if _acts(facts, traced) else ()
    entry = list(filter(None, (_action(facts, registers, text) for text in wanted)))
    leave = list(filter(None, (_action(facts, registers, text) for text in traced.at_return)))
    if traced.silent:
        yield from (_probe(va, number, *leave) for va in places.returns if leave)
        if entry:
            yield _probe(places.entry, number, *entry) + f"  # {traced.function.name}"
        return
    reads = [_read(facts, registers, at, member) for at, member in traced.reads]
    captures = (stack, *registers.arguments[: traced.arguments], *reads)
    for va in (places.entry, *places.also):
        yield _probe(va, number, "enter", *entry, *captures) + f"  # {traced.function.name}"
    for va in places.returns:
        yield _probe(va, number, "exit", *leave, stack, result)
    for va in places.tails:
        yield _probe(va, number, "tail", stack)


def _action(facts: KernelFacts, registers: Registers, text: str) -> str:
    """An action in the plan's grammar; empty when the kernel lacks what it names."""
    words = [_word_of(facts, registers, name) for name in _NAMED.findall(text)]
    if not all(words):
        return ""
    told = iter(words)
    return _NAMED.sub(lambda _: next(told), text)


def _word_of(facts: KernelFacts, registers: Registers, name: str) -> str:
    if name in ("stack", "result"):
        return registers.stack if name == "stack" else registers.result
    if name.isdigit():
        return registers.arguments[int(name)]
    if name in facts.members:
        return f"{facts.members[name].offset:#x}"
    at = facts.constants.get(name)
    return "" if at is None else registers.arguments[at]


def _probe(va: int, number: int, *words: str) -> str:
    return " ".join(("probe", f"{va:#x}", str(number), *words))


def _recorded(facts: KernelFacts, traced: Traced) -> bool:
    """Whether the kernel is one in which the function is recorded."""
    if traced.inlined is None:
        return True
    inner, outer = traced.inlined
    return facts.has(outer) and not facts.has(inner)


def _acts(facts: KernelFacts, traced: Traced) -> bool:
    """Whether the kernel wants the actions at the function's entry."""
    if traced.unless and facts.has(traced.unless):
        return False
    return not traced.embedded or (
        facts.has(traced.embedded) and facts.member(traced.embedded).offset == 0
    )
