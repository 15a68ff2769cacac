"""What the director reads of a guest that stands still: tasks, their stacks, page tables.

All of it is read from physical memory, without the guest's doing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from shootdown.arch.base import Arch
from shootdown.errors import InconclusiveError, InfraError
from shootdown.kernel.facts import KernelFacts
from shootdown.model.audit import slots_at
from shootdown.model.pagetables import PAGE_SIZE, SLOTS
from shootdown.model.tasks_walk import KernelSpace, tasks
from shootdown.race.spec import Spec
from shootdown.run import auditstage
from shootdown.vm.memory import GuestMemory

_TARGET: Final = 0x0000_FFFF_FFFF_F000
"""Bits of an entry that points to a table which are its PA, below 256 TiB."""
_STACK: Final = 16 << 10
"""Bytes of a kernel stack, and its alignment (THREAD_SIZE with 4 KiB pages, without KASAN)."""
_FORMS: Final = ((4, SLOTS), (5, SLOTS), (5, 16), (3, SLOTS))
"""Levels of page tables, and entries of the root (16: arm64's LPA2)."""


@dataclass(frozen=True)
class Task:
    """A thread."""

    va: int
    """VA of its task_struct."""
    pid: int
    comm: str

    def __str__(self) -> str:
        return f"{self.comm}/{self.pid}"


class View:
    """A guest's memory as its kernel sees it; see ``open_view``."""

    def __init__(self, space: KernelSpace, facts: KernelFacts, spec: Spec, slide: int) -> None:
        self._space = space
        self._facts = facts
        self._spec = spec
        self._slide = slide
        self._layout = auditstage.layout(facts, slide)
        self._comm = facts.member("task_struct.comm")
        self._offsets = facts.va("__per_cpu_offset") + slide
        self._current = _current(facts, spec, slide)

    def word(self, va: int) -> int:
        """The 64-bit word at a kernel VA, 8-byte aligned. Raises InconclusiveError if unmapped."""
        return self._space.word(va & -8)

    def text(self, va: int, size: int) -> str:
        """The string at a kernel VA, of at most ``size`` bytes with its end."""
        data = b"".join(self.word(at).to_bytes(8, "little") for at in range(va & -8, va + size, 8))
        return data[va % 8 :][:size].split(b"\0")[0].decode("ascii", "replace")

    def current(self, vcpu: int) -> Task:
        """Who runs on a vCPU."""
        base = self.word(self._offsets + 8 * vcpu)
        return self.task(self.word((base + self._current) % (1 << 64)))

    def task(self, va: int) -> Task:
        """The thread whose task_struct is there."""
        pid = self.word(va + self._layout.task_pid) >> 8 * (self._layout.task_pid % 8) & 0xFFFF_FFFF
        return Task(va, pid, self.text(va + self._comm.offset, self._comm.size))

    def tasks(self) -> Iterator[Task]:
        """Every thread."""
        return (self.task(va) for va in tasks(self._space, self._layout))

    def saved_stack(self, task: Task) -> int:
        """Stack pointer of a thread that does not run."""
        return self.word(task.va + self._facts.member(self._spec.saved_stack).offset)

    def entry(self, slot: int) -> tuple[int, int]:
        """PA of the page-table slot at a kernel VA, and what it holds."""
        pa = self._space.translate(slot)
        return pa, int(slots_at(self._space.memory, pa, 1)[0])

    def user_va(self, task: Task, slot: int) -> int | None:
        """The VA that the level-1 slot at a PA translates for a thread; None when none."""
        mm = self.word(task.va + self._layout.task_mm)
        if not mm:
            return None
        root = self._space.translate(self.word(mm + self._layout.mm_pgd))
        base = self._find(root, self._space.levels, slot & -PAGE_SIZE)
        return None if base is None else base + slot % PAGE_SIZE // 8 * PAGE_SIZE

    def callers(self, sp: int) -> Iterator[str]:
        """Functions that the words of a kernel stack from ``sp`` on may return to, inmost first.

        A conservative look: a stack may hold old words, so a function may be there that is not.
        """
        seen = ""
        for at in range(sp & -8, (sp | (_STACK - 1)) + 1, 8):
            try:
                name = self._returned_to(self.word(at))
            except InconclusiveError:
                return
            if name and name != seen:
                yield name
                seen = name

    def _returned_to(self, word: int) -> str:
        symbols, va = self._facts.symbols, (word | self._spec.strip) - self._slide
        if not symbols.get("_stext", 0) < va < symbols.get("_etext", 0):
            return ""
        name, offset = symbols.at(va)
        for size in self._spec.call_sizes if offset else ():
            try:
                if self._spec.is_call(self._facts.image.read(va - size, size)):
                    return name
            except InfraError:
                break
        return ""

    def _find(self, table: int, level: int, wanted: int) -> int | None:
        # Depth first; only entries that can be pointers to tables are followed.
        space, mmu = self._space, self._space.mmu
        count = space.slots if level == space.levels else SLOTS
        entries = slots_at(space.memory, table, count)
        if level == 2:
            for index in np.flatnonzero((entries & np.uint64(_TARGET)) == wanted).tolist():
                if mmu.table(int(entries[index]), level):
                    return int(index) << 21
            return None
        used = entries != 0
        if level == space.levels:  # x86: the kernel's half of the root is the same in all
            used &= entries != slots_at(space.memory, space.root, count)
        for index in np.flatnonzero(used).tolist():
            entry = int(entries[index])
            if mmu.table(entry, level):
                found = self._find(mmu.target(entry, level), level - 1, wanted)
                if found is not None:
                    return found + (index << (12 + 9 * (level - 1)))
        return None


def open_view(
    memory: GuestMemory,
    roots: list[int],
    facts: KernelFacts,
    arch: Arch,
    spec: Spec,
    *,
    slide: int = 0,
) -> View:
    """The view through the first of ``roots`` (root registers) that shows this kernel.

    ``slide``: bytes that KASLR has added to the VAs of its image. Raises InfraError when none does:
    the guest runs another kernel, or when the kernel's symbols and types lack something.
    """
    for levels, slots in _FORMS:
        mmu = arch.mmu.for_levels(levels)
        for root in dict.fromkeys(mmu.root(value) for value in roots):
            view = View(KernelSpace(memory, mmu, root, levels, slots), facts, spec, slide)
            try:
                if view.task(facts.va("init_task") + slide).comm.startswith("swapper"):
                    return view
            except (InconclusiveError, InfraError):
                continue
    raise InfraError(f"the guest's memory does not show the kernel {facts.release} of {facts.path}")


def _current(facts: KernelFacts, spec: Spec, slide: int) -> int:
    for variable, member in spec.current:
        if variable in facts.symbols:
            va = facts.va(variable) + (facts.member(member).offset if member else 0)
            return va + slide if va >> 63 else va  # x86: until 6.14 an offset from 0
    names = ", ".join(variable for variable, _ in spec.current)
    raise InfraError(f"kernel {facts.release} has none of {names}, so nobody knows who runs")
