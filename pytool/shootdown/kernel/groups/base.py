"""What a group of events is: places and words of the kernel that are recorded together.

A group is data. It names functions whose entry and exit are recorded, members of objects that are
watched, and per-CPU or global words. What of it a kernel has is found by presence: symbols, and
members in the kernel's types. A group that is not armed puts nothing into the plan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from shootdown.kernel.inlined import Call
from shootdown.kernel.plan_spec import PerCpuWord
from shootdown.trace.functions import Function
from shootdown.trace.schema import Watch

if TYPE_CHECKING:
    from shootdown.kernel.facts import KernelFacts


class Set(IntEnum):
    """Objects that come and go, whose words are watched while they live."""

    MM = 1
    """mm_struct, from ``pgd_alloc`` to ``pgd_free``; every plan has it."""
    VMA = 2
    """vm_area_struct, from ``vm_area_alloc`` or ``vm_area_dup`` to ``vm_area_free``."""


@dataclass(frozen=True)
class Traced:
    """A function whose entry and exit are recorded."""

    function: Function
    arguments: int = 3
    """How many of them ENTER captures, 0 to 6."""
    reads: tuple[tuple[int, str], ...] = ()
    """Members that ENTER captures behind the arguments: which argument points to the structure, and
    ``struct.member``. With the arguments there is room for seven words. Only one group may ask
    for members at a function."""
    at_entry: tuple[str, ...] = ()
    """Further actions, in the plan's grammar. ``{0}`` is the register of the first argument,
    ``{stack}`` the stack pointer, ``{struct.member}`` a member's offset, ``{function.parameter}``
    the register of a parameter; an action that names what the kernel does not have is left out."""
    at_return: tuple[str, ...] = ()
    """Further actions at returns; ``{result}`` is the register of the result, too."""
    silent: bool = False
    """No ENTER and EXIT, only the actions."""
    unless: str = ""
    """A function; in a kernel that has it the actions at entry are left out."""
    inlined: tuple[str, str] | None = None
    """Two functions: it is recorded only where the kernel has the second and not the first, which
    the compiler has put into it."""
    embedded: str = ""
    """The actions at entry are about an object whose member the first argument points to: this
    one, ``struct.member``. It must be the object's first; where it is not, they are left out."""


@dataclass(frozen=True)
class Section:
    """Code that runs with interrupts off inside a function.

    Where it is no function of its own, it is recorded like one: ENTER behind the instruction that
    turns interrupts off, EXIT, without a result, at those that turn them on.
    """

    function: Function
    within: Function
    """Where the compiler put it."""


@dataclass(frozen=True)
class Word:
    """A watched word of every object of a set."""

    watch: Watch
    objects: Set
    member: str
    """``struct.member``, as ``KernelFacts.member`` takes it."""
    via: str = ""
    """A member of the object that ``member`` is counted from: a pointer to it, or the thing
    itself where the member is larger than a pointer."""
    narrow: str = ""
    """A member of the member, watched in its place by kernels that have it: what is around it grows
    with lock debugging."""
    size: int = 0
    """Bytes watched from the member's start on; 0 for all of it."""
    lock: bool = False
    """A lock that plain stores take or give back: each of them is told."""


@dataclass(frozen=True)
class GlobalWord:
    """A watched variable of the kernel."""

    watch: Watch
    symbol: str
    size: int


@dataclass(frozen=True)
class Group:
    """One group of events."""

    name: str
    text: str
    """What it tells, one line."""
    functions: tuple[Traced, ...] = ()
    sections: tuple[Section, ...] = ()
    calls: tuple[Call, ...] = ()
    """Calls that must not go unseen. Where the compiler has put the function into its caller, the
    group says that it lacks it there."""
    words: tuple[Word, ...] = ()
    percpu: tuple[PerCpuWord, ...] = ()
    variables: tuple[GlobalWord, ...] = ()
    extra: Callable[[KernelFacts], Iterator[str]] | None = None
    """Further lines of the plan. Raises InfraError when the kernel lacks what they need: the group
    is refused. Lines that several groups give alike are in the plan once."""
    more_watches: tuple[Watch, ...] = ()
    """Words that ``extra`` has watched."""
    more_members: tuple[str, ...] = ()
    """Members that ``extra`` and actions look up."""
    needs: tuple[tuple[str, ...], ...] = ()
    """Functions (by name) or members; of each tuple the kernel must have one, or the group is
    refused."""
    constants: tuple[str, ...] = ()
    """Constants, as ``Btf.look_up`` takes them: ``function.PARAMETER`` that actions name, and
    enumerators that say what captured words mean. The run directory keeps those that the kernel
    has."""

    @property
    def members(self) -> tuple[str, ...]:
        """Members to look up in the kernel's types."""
        names = [
            name for word in self.words for name in (word.member, word.via, word.narrow) if name
        ]
        names += [word.member for word in self.percpu]
        names += [traced.embedded for traced in self.functions if traced.embedded]
        names += [member for traced in self.functions for _, member in traced.reads]
        names += self.more_members
        names += [name for one_of in self.needs for name in one_of if "." in name]
        return tuple(dict.fromkeys(names))


_WATCH_VMA: Final = (f"watch {Set.VMA:d} {{result}}",)
_UNWATCH_VMA: Final = (f"unwatch {Set.VMA:d} {{0}}",)

VMA_LIFE: Final = (
    Traced(Function.vm_area_alloc, 1, at_return=_WATCH_VMA),
    Traced(Function.vm_area_dup, 1, at_return=_WATCH_VMA),
    # From 6.4 to 6.14 the memory goes back after a grace period, in which readers still take the
    # lock of the VMA (kernel/fork.c): by the callback, which may have __vm_area_free() inlined, or
    # at once where nobody can read any more (exit_mmap). Watching ends where the memory goes back.
    Traced(Function.vm_area_free, 1, at_entry=_UNWATCH_VMA, unless="__vm_area_free"),
    Traced(Function["__vm_area_free"], 1, at_entry=_UNWATCH_VMA),
    Traced(
        Function.vm_area_free_rcu_cb, 1, at_entry=_UNWATCH_VMA, embedded="vm_area_struct.vm_rcu"
    ),
)
"""Begins and ends ``Set.VMA``: part of every group that watches its words."""
VMA_COPIES: Final = (
    Call(("vm_area_dup",), ("dup_mmap", "dup_mm", "copy_mm", "copy_process")),
    Call(("vm_area_dup",), ("__split_vma",)),
)
"""A fork's (kernel/fork.c, later mm/mmap.c), and those of splits (mm/mmap.c, later mm/vma.c)."""
