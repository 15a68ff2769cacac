"""Finds the root tables of all tasks in the guest's memory, for the audit.

Nothing here comes from a trace: the task list is read from physical memory, through the
kernel's own page tables. The guest must stand still.

Kernel sources relied upon: ``init_task`` heads the circular list of thread group leaders
(``for_each_process``, ``include/linux/sched/signal.h``); ``signal_struct.thread_head`` links
the threads of a group by ``task_struct.thread_node`` (``for_each_thread``); a leader that
exited before its threads has ``mm`` NULL (``exit_mm``, ``kernel/exit.c``), so every thread is
asked; a kernel thread keeps the last user ``mm`` loaded as its ``active_mm``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from shootdown.arch.mmu import Mmu
from shootdown.errors import InconclusiveError
from shootdown.model.audit import Memory, Root, slots_at
from shootdown.model.pagetables import SLOTS, index_of, span_of

_MOST_TASKS: Final = 1 << 22  # PID_MAX_LIMIT: a longer list is a broken one


@dataclass(frozen=True)
class Layout:
    """Where the kernel keeps what the walk reads: one VA, and offsets in bytes."""

    init_task: int
    """VA of ``init_task``."""
    task_tasks: int
    task_thread_node: int
    task_signal: int
    task_mm: int
    task_active_mm: int
    task_pid: int
    signal_thread_head: int
    mm_pgd: int


@dataclass(frozen=True)
class KernelSpace:
    """Reads kernel VAs by walking the kernel's page tables in memory."""

    memory: Memory
    mmu: Mmu
    root: int
    """PA of the kernel's root table."""
    levels: int
    slots: int = SLOTS
    """Entries of the root table."""

    def translate(self, va: int) -> int:
        """PA of ``va``. Raises InconclusiveError when nothing is mapped there."""
        table = self.root
        for level in range(self.levels, 0, -1):
            count = self.slots if level == self.levels else SLOTS
            entry = int(slots_at(self.memory, table, count)[index_of(va, level) % count])
            if self.mmu.leaf(entry, level):
                return self.mmu.target(entry, level) + va % span_of(level)
            if not self.mmu.table(entry, level):
                break
            table = self.mmu.target(entry, level)
        raise InconclusiveError(
            f"kernel VA {va:#x} is not mapped in the guest's memory: the task list cannot be "
            "read, so the audit has no roots; check that the symbols are those of this kernel"
        )

    def word(self, va: int) -> int:
        """The 64-bit word at ``va``, which is 8-byte aligned."""
        pa = self.translate(va)
        return int(slots_at(self.memory, pa, 1)[0])


def tasks(space: KernelSpace, layout: Layout) -> Iterator[int]:
    """VA of every ``task_struct``: all threads of all processes, the idle task 0 first.

    Raises InconclusiveError when a list does not close.
    """
    head = layout.init_task + layout.task_tasks
    for node in (head, *_list(space, head)):
        leader = node - layout.task_tasks
        yield leader
        threads = space.word(leader + layout.task_signal) + layout.signal_thread_head
        for thread in _list(space, threads):
            if thread - layout.task_thread_node != leader:
                yield thread - layout.task_thread_node


def mm_roots(space: KernelSpace, layout: Layout, *, user_levels: int | None = None) -> list[Root]:
    """The kernel's root first, then that of every task's mm, each PA once.

    ``user_levels`` are the levels of a user root, by default those of the MMU. Raises
    InconclusiveError when memory does not hold a task list where ``layout`` says.
    """
    roots = {space.root: Root(space.root, space.levels, "kernel", "the kernel", space.slots)}
    levels = user_levels or space.mmu.levels
    for mm, pgd, task in _mms(space, layout):
        if pgd:
            pa = space.translate(pgd)
            label = f"mm {mm:#x}, pid {_number(space, task + layout.task_pid, 4)}"
            roots.setdefault(pa, Root(pa, levels, "user", label, space.slots))
    return list(roots.values())


def address_spaces(space: KernelSpace, layout: Layout) -> dict[int, int]:
    """Every mm_struct a task has or borrows: its VA, and the VA of its root table.

    That of the kernel (``init_mm``) is none. Raises InconclusiveError as ``mm_roots`` does.
    """
    return {
        mm: pgd for mm, pgd, _ in _mms(space, layout) if pgd and space.translate(pgd) != space.root
    }


def running(space: KernelSpace, layout: Layout, on_cpu: int, size: int) -> list[int]:
    """Task numbers of all tasks that a CPU executes, idle tasks left out.

    ``on_cpu`` and ``size``: offset and bytes of ``task_struct.on_cpu`` (``prepare_task()``,
    ``finish_task()``, ``kernel/sched/core.c``), which had 4 and has 1. No idle task is in a list
    but number 0's (``fork_idle()``).
    """
    found = tasks(space, layout)
    next(found)
    return [
        _number(space, task + layout.task_pid, 4)
        for task in found
        if _number(space, task + on_cpu, size)
    ]


def _mms(space: KernelSpace, layout: Layout) -> Iterator[tuple[int, int, int]]:
    """Every mm_struct once: its VA, the VA of its root table, and a task that has it."""
    seen: set[int] = set()
    for task in tasks(space, layout):
        for member in (layout.task_mm, layout.task_active_mm):
            mm = space.word(task + member)
            if mm and mm not in seen:
                seen.add(mm)
                yield mm, space.word(mm + layout.mm_pgd), task


def _list(space: KernelSpace, head: int) -> Iterator[int]:
    """VAs of the nodes of a ``list_head`` list, the head left out."""
    node = space.word(head)
    for _ in range(_MOST_TASKS):
        if node == head:
            return
        yield node
        node = space.word(node)
    raise InconclusiveError(
        f"the list at kernel VA {head:#x} does not close: the guest's memory holds no task list "
        "there; check that the symbols are those of this kernel"
    )


def _number(space: KernelSpace, va: int, size: int) -> int:
    """The number of ``size`` bytes at ``va``, which lies in one 64-bit word."""
    return space.word(va & ~7) >> 8 * (va & 7) & (1 << 8 * size) - 1
