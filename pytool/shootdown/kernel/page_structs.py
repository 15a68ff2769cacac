"""Where a kernel keeps the ``struct page`` of each frame: the plan's ``pages`` and ``compound``.

With CONFIG_SPARSEMEM_VMEMMAP they lie in one range of VAs, in the order of the frames, and
mm/sparse.c (``sparse_encode_mem_map``) keeps in each ``mem_section`` where that of the frame at
PA 0 would be, with flags in the low bits: the same VA in all sections. It is read from the running
kernel, so neither KASLR nor the layout of a kernel's VAs need be known. The plugin refuses the plan
when the kernel's tables do not map what it comes to.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from shootdown import arch
from shootdown.errors import InfraError

if TYPE_CHECKING:
    from shootdown.kernel.facts import KernelFacts

_SECTION_BITS: Final = 27
"""SECTION_SIZE_BITS: arch/x86/include/asm/sparsemem.h; arm64 with 4 KiB pages (sparsemem.h)."""
_FLAGS: Final = 0xFFF
"""More than SECTION_MAP_LAST_BIT (include/linux/mmzone.h), less than a section's alignment."""
ORDER: Final = ("folio._folio_order", "folio._flags_1")
MEMBERS: Final = ("page", "mem_section", "mem_section.section_mem_map")


def pages(facts: KernelFacts) -> Iterator[str]:
    """The directive ``pages``. Raises InfraError when the kernel has no such range."""
    if "vmemmap_populate" not in facts.symbols:
        raise InfraError("the kernel has no vmemmap (CONFIG_SPARSEMEM_VMEMMAP)")
    section = facts.member("mem_section")
    number = arch.get(facts.arch).machine.ram_base >> _SECTION_BITS
    at = number * section.size + facts.member("mem_section.section_mem_map").offset
    mask = (1 << 64) - 1 - _FLAGS
    term = f"@{facts.va('mem_section'):#x}->0->{at:#x}&{mask:#x}"
    yield f"pages {term} {facts.member('page').size}  # mem_section"


def compound(facts: KernelFacts) -> Iterator[str]:
    """The directive ``compound``: how a ``struct folio`` says its order, where PG_head is set.

    ``folio_order`` (include/linux/mm.h): ``_folio_order``, and since Linux 6.6 the low byte of
    ``_flags_1``.
    """
    head = facts.constants.get("pageflags.PG_head")
    order = next((name for name in ORDER if facts.has(name)), None)
    if head is None or order is None:
        raise InfraError("the kernel's types do not say how large a folio is")
    flags, at = facts.member("page.flags").offset, facts.member(order).offset
    yield f"compound {flags:#x} {head} {at:#x}  # {order}"
