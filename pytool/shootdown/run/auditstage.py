"""The audit: page tables rebuilt from the trace against the memory of the stopped guest.

The walk begins at every mm of the task list, at the kernel's root and at the roots that the vCPUs
have loaded, as gdb reads them: never at what the plugin says it knows, but for PTI's second roots
that are not loaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from shootdown.arch import Arch
from shootdown.errors import InconclusiveError, InfraError
from shootdown.kernel import anchor
from shootdown.kernel.facts import KernelFacts
from shootdown.model.audit import AuditReport, Root, audit
from shootdown.model.pagetables import SLOTS, Shadow
from shootdown.model.tasks_walk import KernelSpace, Layout, mm_roots
from shootdown.run import identity, locate
from shootdown.run.directory import RunDir
from shootdown.trace.reader import Trace
from shootdown.vm import gdbstub
from shootdown.vm.guest import Guest
from shootdown.vm.memory import GuestMemory

# Registers that hold translation roots, by QEMU's names; a guest has those of its architecture.
_ROOTS: Final = ("cr3", "TTBR0_EL1", "TTBR1_EL1")
_KERNEL_ROOTS: Final = ("cr3", "TTBR1_EL1")
"""Those whose tables map the kernel."""
_SECONDS: Final = 60.0
_SHAPES: Final = ((4, SLOTS), (5, SLOTS), (3, SLOTS), (5, 16))
"""Levels of the kernel's tables, and slots of its root: the last are those of 52-bit addresses."""


@dataclass(frozen=True)
class Stand:
    """A guest that stands still: its memory, and each vCPU's root registers."""

    memory: GuestMemory
    registers: list[dict[str, int]]


@dataclass(frozen=True)
class Known:
    """A kernel that was found in memory before."""

    space: KernelSpace
    slide: int
    """Bytes that KASLR has added to its VAs."""


async def take(guest: Guest) -> Stand:
    """Map the memory and read the root registers of a paused guest."""
    registers = await guest.guard(_registers(guest), _SECONDS, "show its registers")
    return Stand(guest.memory(), registers)


def compare(
    stand: Stand,
    facts: KernelFacts,
    arch: Arch,
    run: RunDir,
    known: Known | None = None,
) -> dict[str, Any]:
    """Rebuild the tables from the trace, walk the memory, and tell how they differ.

    ``known`` is the kernel of ``facts`` where that need not be shown: a guest from a snapshot was
    looked at when it was saved. Raises InfraError when the guest ran another kernel, and what the
    trace's reader raises.
    """
    shadow, recorded = _rebuild(run, arch)
    if known is None:
        place = locate.find(stand.memory, facts)
        slide = place.slide if place else 0
        spaces = _spaces(stand, shadow, arch)
        known = Known(identity.check(stand.memory, spaces, facts, slide=slide), slide)
    _check_recorded(recorded, known.slide, facts)
    roots = _roots(stand, known.space, shadow, facts, arch, slide=known.slide)
    report: AuditReport = audit(shadow, stand.memory, roots, shadow.mmu)
    return {
        **asdict(report),
        "roots": len(roots),
        "slide": known.slide,
        "inconsistencies": shadow.inconsistencies,
        "inconsistency_details": shadow.details,
    }


def _rebuild(run: RunDir, arch: Arch) -> tuple[Shadow, int | None]:
    """The tables of the trace, and the slide it was recorded with; None when it never began."""
    shadow = Shadow(arch.mmu)
    try:
        trace = Trace(run.trace)
    except InconclusiveError:  # perhaps because it is another kernel: that is to be said first
        return shadow, None
    for events in trace.iter_chunks():
        shadow.apply(events)
    return shadow, trace.slide


def _check_recorded(recorded: int | None, slide: int, facts: KernelFacts) -> None:
    if recorded is None:
        raise InfraError(
            f"nothing was recorded: the plugin never came upon {anchor.SYMBOL} and rest_init of "
            f"{facts.path}, which runs {slide:#x} bytes above where it was linked; "
            "boot it with nokaslr, and report this"
        )
    if recorded != slide:
        raise InfraError(
            f"the trace was recorded for a kernel moved by {recorded:#x} bytes, and the guest's "
            f"memory shows one moved by {slide:#x}; report this"
        )


async def _registers(guest: Guest) -> list[dict[str, int]]:
    # Not by gdb itself: its start takes as long as QEMU's, and every trial ends with this.
    stub = await gdbstub.connect(guest.sockets.gdb)
    try:
        names = [name for name in _ROOTS if stub.knows(name)]
        if not names:
            raise InfraError("the gdbstub shows no root register; is QEMU 10 or newer?")
        return [await stub.read(vcpu, names) for vcpu in stub.vcpus]
    finally:
        await stub.hang_up()


def _roots(
    stand: Stand,
    window: KernelSpace,
    shadow: Shadow,
    facts: KernelFacts,
    arch: Arch,
    *,
    slide: int,
) -> list[Root]:
    # Only levels and sizes are taken from the trace: registers tell them in ways of their own.
    loaded = [
        Root(
            shadow.mmu.root(value),
            shadow.kernel_levels if name in _KERNEL_ROOTS else shadow.user_levels,
            "loaded",
            f"{name} of CPU {cpu}",
            shadow.root_slots,
        )
        for cpu, registers in enumerate(stand.registers)
        for name, value in registers.items()
    ]
    where = layout(facts, slide)
    kernel = window.translate(window.word(facts.va("init_mm") + slide + where.mm_pgd))
    space = KernelSpace(stand.memory, shadow.mmu, kernel, shadow.kernel_levels, shadow.root_slots)
    mms = mm_roots(space, where, user_levels=shadow.user_levels)
    return [*loaded, *mms, *_twins(mms, shadow)]


def _twins(mms: list[Root], shadow: Shadow) -> Iterator[Root]:
    """With PTI the second root of each mm: nothing in memory but its place leads to it.

    One that has not been loaded yet is not followed, and not given here.
    """
    of = {table.root: pa for pa, table in shadow.roots.items() if table.root != pa}
    for root in mms:
        if root.pa in of:
            yield replace(root, pa=of[root.pa], label=f"{root.label}, user mode's")


def _spaces(stand: Stand, shadow: Shadow, arch: Arch) -> Iterator[KernelSpace]:
    """Every way to read the kernel; which of them is right shows.

    In user mode PTI's second roots and KPTI's trampoline are loaded, which do not map the kernel;
    then the trace's idea of the kernel's root is tried, and counts if the kernel is found there.
    """
    more = [] if shadow.kernel_root is None else [shadow.kernel_root]
    return loaded_spaces(stand, arch, (*_SHAPES, (shadow.kernel_levels, shadow.root_slots)), more)


def loaded_spaces(
    stand: Stand,
    arch: Arch,
    shapes: Sequence[tuple[int, int]] = _SHAPES,
    more: Sequence[int] = (),
) -> Iterator[KernelSpace]:
    """Every way to read the kernel through the roots that the vCPUs have loaded.

    ``shapes``: levels, and slots of the root. ``more``: PAs of further roots.
    """
    values = [r[name] for r in stand.registers for name in _KERNEL_ROOTS if name in r]
    for levels, slots in shapes:
        mmu = arch.mmu.for_levels(levels)
        for root in dict.fromkeys([*(mmu.root(value) for value in values), *more]):
            yield KernelSpace(stand.memory, mmu, root, levels, slots)


def layout(facts: KernelFacts, slide: int) -> Layout:
    """Where this kernel, moved by ``slide`` bytes, keeps what the walk of its tasks reads.

    Raises InfraError.
    """

    def task(member: str) -> int:
        return facts.member(f"task_struct.{member}").offset

    return Layout(
        init_task=facts.va("init_task") + slide,
        task_tasks=task("tasks"),
        task_thread_node=task("thread_node"),
        task_signal=task("signal"),
        task_mm=task("mm"),
        task_active_mm=task("active_mm"),
        task_pid=task("pid"),
        signal_thread_head=facts.member("signal_struct.thread_head").offset,
        mm_pgd=facts.member("mm_struct.pgd").offset,
    )
