"""The roots of all tasks are found in memory, through the kernel's own page tables."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from shootdown.arch.arm64.mmu import MMU as ARM64
from shootdown.arch.mmu import Mmu
from shootdown.arch.x86_64.mmu import MMU as X86
from shootdown.errors import InconclusiveError
from shootdown.model.tasks_walk import KernelSpace, address_spaces, mm_roots, running, tasks

from .guest_ram import Ram

LINEAR = 0xFFFF_8880_0000_0000


@dataclass
class Offsets:
    init_task: int
    task_tasks: int = 0x10
    task_thread_node: int = 0x20
    task_signal: int = 0x30
    task_mm: int = 0x38
    task_active_mm: int = 0x40
    task_pid: int = 0x4C  # the upper half of a word, as the kernel may place it
    signal_thread_head: int = 0x8
    mm_pgd: int = 0x18


class Kernel:
    """Builds tasks in memory, with every object in a page of its own."""

    def __init__(self, arch: str, mmu: Mmu) -> None:
        self.ram = Ram(arch, mmu)
        self.root = self.ram.page()
        self.tasks: list[int] = []
        self.threads: dict[int, list[int]] = {}
        self.layout = Offsets(init_task=0)
        self.layout.init_task = self.process(pid=0)

    @property
    def space(self) -> KernelSpace:
        return KernelSpace(self.ram, self.ram.mmu, self.root, 4)

    def page(self) -> int:
        """VA of a new page, mapped where the linear map has it."""
        pa = self.ram.page()
        self.ram.map(self.root, LINEAR + pa, pa)
        return LINEAR + pa

    def poke(self, va: int, value: int) -> None:
        self.ram.store(va - LINEAR, value)

    def mm(self) -> tuple[int, int]:
        """VA of a new mm_struct, PA of its root."""
        mm, pgd = self.page(), self.page()
        self.poke(mm + self.layout.mm_pgd, pgd)
        return mm, pgd - LINEAR

    def process(self, *, pid: int, mm: int = 0, active_mm: int = 0) -> int:
        signal = self.page()
        self.threads[signal] = []
        task = self.thread(signal, pid=pid, mm=mm, active_mm=active_mm)
        self.tasks.append(task)
        self._ring([task + self.layout.task_tasks for task in self.tasks])
        return task

    def thread(self, signal: int, *, pid: int, mm: int = 0, active_mm: int = 0) -> int:
        task = self.page()
        self.poke(task + self.layout.task_signal, signal)
        self.poke(task + self.layout.task_mm, mm)
        self.poke(task + self.layout.task_active_mm, active_mm or mm)
        self.poke(task + self.layout.task_pid - 4, pid << 32 | 0xFFFF)
        self.threads[signal].append(task + self.layout.task_thread_node)
        self._ring([signal + self.layout.signal_thread_head, *self.threads[signal]])
        return task

    def signal(self, task: int) -> int:
        pa = task - LINEAR
        return int(self.ram.table(pa)[self.layout.task_signal // 8])

    def _ring(self, nodes: list[int]) -> None:
        for node, after in zip(nodes, [*nodes[1:], nodes[0]], strict=True):
            self.poke(node, after)


@pytest.fixture(params=["x86_64", "arm64"])
def kernel(request: pytest.FixtureRequest) -> Kernel:
    return Kernel(request.param, X86 if request.param == "x86_64" else ARM64)


def test_the_kernel_alone(kernel: Kernel) -> None:
    assert [(r.pa, r.kind) for r in mm_roots(kernel.space, kernel.layout)] == [
        (kernel.root, "kernel")
    ]


def test_every_mm_once(kernel: Kernel) -> None:
    shell, shell_root = kernel.mm()
    lazy, lazy_root = kernel.mm()
    group, group_root = kernel.mm()
    kernel.process(pid=10, mm=shell)
    kernel.process(pid=11, mm=shell)  # vfork: shares it
    kernel.process(pid=2, active_mm=lazy)  # a kernel thread
    leader = kernel.process(pid=12)  # exited before its thread did
    kernel.thread(kernel.signal(leader), pid=13, mm=group)
    roots = mm_roots(kernel.space, kernel.layout)
    assert [root.pa for root in roots] == [kernel.root, shell_root, lazy_root, group_root]
    assert [root.kind for root in roots] == ["kernel", "user", "user", "user"]
    assert roots[3].label == f"mm {group:#x}, pid 13"
    assert len(list(tasks(kernel.space, kernel.layout))) == 6


def test_a_mm_without_a_root_yet(kernel: Kernel) -> None:
    kernel.process(pid=10, mm=kernel.page())
    assert len(mm_roots(kernel.space, kernel.layout)) == 1


def test_every_address_space_and_its_root(kernel: Kernel) -> None:
    shell, shell_root = kernel.mm()
    lazy, lazy_root = kernel.mm()
    kernel.process(pid=10, mm=shell)
    kernel.process(pid=11, mm=kernel.page())  # has no root yet
    kernel.process(pid=2, active_mm=lazy)
    init_mm = kernel.page()
    kernel.ram.map(kernel.root, LINEAR + kernel.root, kernel.root)
    kernel.poke(init_mm + kernel.layout.mm_pgd, LINEAR + kernel.root)
    kernel.process(pid=3, active_mm=init_mm)
    assert address_spaces(kernel.space, kernel.layout) == {
        shell: LINEAR + shell_root,
        lazy: LINEAR + lazy_root,
    }


@pytest.mark.parametrize("size", [1, 4])
def test_who_runs(kernel: Kernel, size: int) -> None:
    on_cpu = 0x51 if size == 1 else 0x54
    leader = kernel.process(pid=10)
    thread = kernel.thread(kernel.signal(leader), pid=11)
    others = 0xFF << 8 * (on_cpu % 8 + size) | 1  # its neighbours in the word
    for task in (leader, thread):
        kernel.poke(task + (on_cpu & ~7), others & (1 << 64) - 1)
    assert running(kernel.space, kernel.layout, on_cpu, size) == []
    kernel.poke(thread + (on_cpu & ~7), 1 << 8 * (on_cpu % 8))
    assert running(kernel.space, kernel.layout, on_cpu, size) == [11]
    kernel.poke(kernel.tasks[0] + (on_cpu & ~7), 1 << 8 * (on_cpu % 8))  # the idle task
    assert running(kernel.space, kernel.layout, on_cpu, size) == [11]


def test_wrong_symbols(kernel: Kernel) -> None:
    kernel.layout.init_task += 0x4000_0000
    va = kernel.layout.init_task + kernel.layout.task_tasks
    with pytest.raises(InconclusiveError) as caught:
        mm_roots(kernel.space, kernel.layout)
    assert str(caught.value) == (
        f"kernel VA {va:#x} is not mapped in the guest's memory: the task list cannot be read, so "
        "the audit has no roots; check that the symbols are those of this kernel"
    )


def test_a_list_that_does_not_close(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shootdown.model.tasks_walk._MOST_TASKS", 10)
    task = kernel.process(pid=10)
    kernel.poke(task + kernel.layout.task_tasks, task + kernel.layout.task_tasks)
    with pytest.raises(InconclusiveError) as caught:
        mm_roots(kernel.space, kernel.layout)
    head = kernel.layout.init_task + kernel.layout.task_tasks
    assert str(caught.value) == (
        f"the list at kernel VA {head:#x} does not close: the guest's memory holds no task list "
        "there; check that the symbols are those of this kernel"
    )
