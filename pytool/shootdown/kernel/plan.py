"""The plugin's plan: what the plugin is to know of a kernel, in the grammar of architecture.md."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from shootdown.arch.base import Arch
from shootdown.errors import InfraError, UsageError
from shootdown.kernel import anchor, groups, plan_groups
from shootdown.kernel.facts import KernelFacts
from shootdown.kernel.plan_arm64 import SPEC as ARM64
from shootdown.kernel.plan_spec import Spec
from shootdown.kernel.plan_x86_64 import SPEC as X86_64
from shootdown.trace.schema import VERSION, Watch

SPECS: Final[dict[str, Spec]] = {"x86_64": X86_64, "arm64": ARM64}
"""By architecture."""
THREADS: Final = ("multi", "single")
_MM_SET: Final = 1
"""Number of the set of words watched in every mm_struct."""
_INIT_STACK: Final = (
    ("__start_init_stack", "__end_init_stack"),
    ("__start_init_task", "__end_init_task"),
    ("init_thread_union", "__end_init_task"),
)
_USUAL_STACK: Final = 14


def make(
    facts: KernelFacts,
    arch: Arch,
    *,
    ram_size: int,
    thread: str = "multi",
    events: str = "",
    slide: int | None = None,
    observe: bool = True,
    live_ms: int = 0,
    drop_store: int = 0,
    delay_us: int = 0,
) -> str:
    """The text of the plan.

    ``ram_size``: bytes of guest RAM. ``thread``: how QEMU runs vCPUs. ``events``: groups of
    events, as ``groups.named`` takes them. ``slide``:
    bytes that KASLR has added to the kernel's VAs, where that is known. ``live_ms``: milliseconds
    after which records are to be in the trace's files, 0 for any time. ``drop_store`` and
    ``delay_us`` (microseconds) are for tests: lose the N-th page-table store; sleep before
    numbering a watched access. A probe that the kernel has no place for is left out and named in
    a comment. Raises InfraError when the kernel lacks something no recording can do without, and
    UsageError for another architecture's kernel, an unknown ``thread`` or too much RAM.
    """
    if facts.arch != arch.name:
        raise UsageError(f"{facts.path} is a kernel for {facts.arch}, not for {arch.name}.")
    if thread not in THREADS:
        raise UsageError(f"unknown thread mode '{thread}': use one of {', '.join(THREADS)}.")
    spec = SPECS[arch.name]
    if ram_size >= spec.ram_below:
        raise UsageError(f"{ram_size:#x} bytes of RAM do not lie in one piece; take less.")
    ram = arch.machine.ram_base
    lines = [
        f"# Linux {facts.release}, build-id {facts.build_id or 'none'}",
        f"schema {VERSION}",
        f"arch {arch.name}",
        f"thread {thread}",
        f"ram {ram:#x} {ram_size:#x}",
        f"{anchor.line(facts)}  # {anchor.SYMBOL}" if slide is None else f"slide {slide:#x}",
        f"start {facts.va('rest_init'):#x}  # rest_init",
        *_mappings(facts, spec, ram),
        *_watches(facts, spec),
        *_probes(facts, spec),
        *plan_groups.lines(facts, spec.registers, groups.named(events)),
        f"observe {int(observe)}",
    ]
    if live_ms:
        lines.append(f"live {live_ms}")
    if drop_store:
        lines.append(f"test_drop_store {drop_store}")
    if delay_us:
        lines.append(f"test_delay_us {delay_us}")
    return "\n".join(lines) + "\n"


def _mappings(facts: KernelFacts, spec: Spec, ram: int) -> Iterator[str]:
    first, end = facts.va("_text"), facts.va("_end")
    yield f"linear {spec.linear(facts, ram)} {ram:#x}"
    yield f"image {first:#x} {end - first:#x} {spec.image_pa(facts, first)}  # _text to _end"
    yield f"slow_table {spec.slow_table(facts):#x}"
    yield f"kernel_root {facts.va(spec.kernel_root):#x}  # {spec.kernel_root}"
    yield f"stack {_stack_log2(facts)}"
    yield f"percpu {facts.va('__per_cpu_offset'):#x}  # __per_cpu_offset"


def _stack_log2(facts: KernelFacts) -> int:
    """Of THREAD_SIZE bytes: the size of the first task's stack (vmlinux.lds.h: INIT_TASK_DATA).

    Where the kernel lists no data the common size stands: 16 KiB, on both architectures.
    """
    for start, end in _INIT_STACK:
        if start in facts.symbols and end in facts.symbols:
            size = facts.va(end) - facts.va(start)
            if size > 0 and size & (size - 1) == 0:
                return size.bit_length() - 1
    return _USUAL_STACK


def _watches(facts: KernelFacts, spec: Spec) -> Iterator[str]:
    count, root = facts.member("mm_struct.mmap_lock.count"), facts.member("mm_struct.pgd")
    init_mm = facts.va("init_mm")
    lock = int(Watch.MMAP_LOCK)
    yield f"watch {lock} {init_mm + count.offset:#x} {count.size} {init_mm:#x}  # init_mm"
    yield f"set {_MM_SET} {lock} {count.offset:#x} {count.size}"
    yield f"set {_MM_SET} {int(Watch.MM_PGD)} {root.offset:#x} {root.size} root"
    for word in spec.percpu:
        try:
            yield f"{word.line(facts)}  # {word.variable}, {word.member}"
        except InfraError as error:
            yield f"# not watched: {word.watch.name}: {error}"


def _probes(facts: KernelFacts, spec: Spec) -> Iterator[str]:
    for point in spec.probes:
        try:
            yield f"{point.line(facts)}  # {point.probe.name}, {point.function}"
        except InfraError as error:
            if not point.optional:
                raise
            yield f"# not probed: {point.probe.name}: {error}"
