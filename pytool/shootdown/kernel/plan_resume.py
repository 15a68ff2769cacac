"""The lines of a plan that tell the plugin what a restored guest holds already."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from shootdown.kernel.groups.base import Set


def lines(mms: Mapping[int, int], registers: Sequence[Mapping[str, int]]) -> Iterable[str]:
    """Record from the guest's first instruction, not from the boot's start address on.

    ``mms``: the VA of each mm_struct, and the VA of its root table. ``registers``: of each vCPU
    the registers that hold translation roots, by gdb's names.
    """
    yield "resume"
    for cpu, values in enumerate(registers):
        for name, value in values.items():
            yield f"vcpu {cpu} {name} {value:#x}"
    for mm, root in mms.items():
        yield f"root {root:#x}"
        yield f"object {Set.MM:d} {mm:#x}"
