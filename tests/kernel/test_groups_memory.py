"""Groups about page-table locks, frames and walkers: what the plan says of each kernel."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shootdown import arch
from shootdown.kernel import groups, plan, plan_groups, scan
from shootdown.kernel.btf import Member
from shootdown.kernel.facts import KernelFacts
from shootdown.trace.functions import Function
from shootdown.trace.schema import Watch

RAM = 256 << 20


def lines(facts: KernelFacts, events: str) -> list[list[str]]:
    text = plan.make(facts, arch.get(facts.arch), ram_size=RAM, events=events)
    return [line.partition("#")[0].split() for line in text.splitlines()]


def of(found: list[list[str]], directive: str) -> list[list[str]]:
    return [words[1:] for words in found if words[:1] == [directive]]


@pytest.mark.parametrize("name", ["ptl", "pages", "walkers"])
def test_every_kernel_has_them(learned: KernelFacts, name: str) -> None:
    assert plan_groups.resolve(learned, groups.GROUPS[name]).refused == ""


def test_a_group_that_is_not_armed_costs_nothing(learned: KernelFacts) -> None:
    found = lines(learned, "none")
    for directive in ("pages", "table_lock", "compound"):
        assert of(found, directive) == []


def test_locks_of_tables(learned: KernelFacts) -> None:
    found = lines(learned, "ptl")
    (lock,) = of(found, "table_lock")
    own = next(name for name in ("ptdesc.ptl", "page.ptl") if learned.has(name))
    offset = learned.member(own).offset
    assert lock == [str(int(Watch.PTL)), f"{offset:#x}", "1", "0x6"]
    ((term, size),) = of(found, "pages")
    assert term.startswith(f"@{learned.va('mem_section'):#x}->0->")
    assert int(size) == learned.member("page").size


def test_a_lock_that_is_a_pointer(learned: KernelFacts) -> None:
    """ALLOC_SPLIT_PTLOCKS: a spinlock that is larger than a word lies elsewhere."""
    debug = replace(learned, members={**learned.members, "spinlock": Member(0, 64)})
    (lock,) = of(lines(debug, "ptl"), "table_lock")
    assert lock[-1] == "pointer"


@pytest.mark.parametrize("member", ["spinlock.rlock", "qspinlock.locked"])
def test_other_spinlocks_are_refused(learned: KernelFacts, member: str) -> None:
    members = {name: where for name, where in learned.members.items() if name != member}
    other = replace(learned, members=members)
    assert member in plan_groups.resolve(other, groups.GROUPS["ptl"]).refused
    assert of(lines(other, "ptl"), "table_lock") == []


def test_a_spinlock_of_another_layout_is_refused(learned: KernelFacts) -> None:
    members = {**learned.members, "raw_spinlock.raw_lock": Member(8, 4)}
    found = plan_groups.resolve(replace(learned, members=members), groups.GROUPS["ptl"])
    assert "does not begin with its locked byte" in found.refused


def test_frames_are_followed_where_functions_begin_and_return(learned: KernelFacts) -> None:
    found = lines(learned, "pages")
    probes = {(int(words[0], 16), words[2]): int(words[1]) for words in of(found, "probe")}
    actions = {action for _, action in probes}
    assert {"freed", "keep", "allocated", "allocated_array"} <= actions
    assert "freed_array" in actions or "freed_list" in actions
    for (va, action), number in probes.items():
        if action in ("freed", "freed_array", "freed_list", "keep"):
            name, offset = learned.symbols.at(va)
            assert (offset, number) == (0, Function[name])


def test_an_array_of_new_pages_is_the_argument_of_that_name(learned: KernelFacts) -> None:
    name = next(n for n in ("alloc_pages_bulk_noprof", "__alloc_pages_bulk") if learned.has(n))
    names = learned.btf.parameters(name)
    assert learned.constants[f"{name}.page_array"] == names.index("page_array") in (4, 5)
    assert learned.btf.parameters("no_such_function") == ()


def test_the_section_with_interrupts_off(learned: KernelFacts) -> None:
    """Behind the instruction that turns them off, and at those that turn them on."""
    section = learned.functions["gup_fast"]
    host, offset = learned.symbols.at(section.entry)
    assert host in ("gup_fast_fallback", "internal_get_user_pages_fast")
    assert offset > 0
    assert all(learned.symbols.at(va)[0] == host for va in section.returns)
    for va in section.returns:
        (step,) = scan.disassemble(learned, va, 1)
        assert step.mnemonic in ("call", "sti", "msr"), step


def test_every_beginning_of_a_section_is_one(learned: KernelFacts) -> None:
    """A compiler may have copied the instruction: lockdep's 6.12 for arm64 has two."""
    section = learned.functions["gup_fast"]
    copied = replace(section, also=(section.entry + 0x40,))
    twice = replace(learned, functions={**learned.functions, "gup_fast": copied})
    number = str(int(Function["gup_fast"]))
    probes = [words for words in of(lines(twice, "walkers"), "probe") if words[1] == number]
    entered = [int(words[0], 16) for words in probes if words[2] == "enter"]
    assert entered == [section.entry, section.entry + 0x40]
