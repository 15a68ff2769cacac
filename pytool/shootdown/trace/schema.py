"""The schema of trace events, written once.

It generates the C header ``plugin/schema.h``, the numpy dtype and
``docs/trace-format.md`` (``python -m shootdown.trace.generate``); a test fails when
a generated file drifts. Change anything here and ``VERSION`` must go up.

A trace is a directory with one file per vCPU, ``cpu<N>.trace``: a header of
``HEADER_BYTES``, then records of ``RECORD_BYTES``, little endian, append only. A
file whose writer was killed is valid up to its last whole record; a complete one
ends with a ``TRAILER`` record.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Final

import numpy as np

VERSION: Final = 4
MAGIC: Final = b"SHOOTDWN"
HEADER_BYTES: Final = 4096
RECORD_BYTES: Final = 64


@dataclass(frozen=True)
class Field:
    """One field of the fixed record: name, numpy type, C type, meaning."""

    name: str
    numpy: str
    c: str
    text: str


FIELDS: Final = (
    Field("seq", "<u8", "uint64_t", "global sequence number, drawn after the access; unique"),
    Field(
        "icount",
        "<u8",
        "uint64_t",
        "guest instructions executed by all vCPUs so far, counted per translation block",
    ),
    Field(
        "pc", "<u8", "uint64_t", "VA of the instruction; of the kernel's image, as it was linked"
    ),
    Field("a", "<u8", "uint64_t", "see the kind"),
    Field("b", "<u8", "uint64_t", "see the kind"),
    Field("c", "<u8", "uint64_t", "see the kind"),
    Field("d", "<u8", "uint64_t", "see the kind"),
    Field("kind", "<u2", "uint16_t", "the kind of event"),
    Field("id", "<u2", "uint16_t", "probe, watch, mark or flush identity; see the kind"),
    Field("cpu", "u1", "uint8_t", "vCPU index"),
    Field("level", "u1", "uint8_t", "page-table level: 1 maps pages, the root is the highest"),
    Field("size", "u1", "uint8_t", "bytes of the access"),
    Field("flags", "u1", "uint8_t", "bits of Flag"),
)

DTYPE: Final = np.dtype([(f.name, f.numpy) for f in FIELDS])
assert DTYPE.itemsize == RECORD_BYTES


class Flag(IntFlag):
    """Bits of the ``flags`` field."""

    ATOMIC = 1
    """The store was part of an atomic read-modify-write; ``b`` is what it read."""
    STORE = 2
    """OBS: the access was a store."""
    LAST = 4
    """OBS: written for its count only, when an address is no longer followed; no access now."""
    LOCAL = 8
    """FLUSH: affects the issuing vCPU only."""
    LEAF = 16
    """FLUSH: last-level entries only, walk-cache entries survive."""
    ALL_ASID = 32
    """FLUSH: every address space, global entries included."""
    MORE = 64
    """PROBE, ENTER: a record with further captures follows from this vCPU."""
    TAIL = 128
    """EXIT: by a jump to another function, whose result it will be; ``b`` is none."""


class Kind(IntEnum):
    """What happened."""

    ARMED = 1
    ROOT_LEARN = 2
    ROOT_FORGET = 3
    TABLE_LINK = 4
    TABLE_SLOT = 5
    TABLE_UNLINK = 6
    PTE_WRITE = 7
    AUDIT_MISMATCH = 8
    FLUSH = 9
    BARRIER = 10
    ROOT_LOAD = 11
    WATCH = 12
    PROBE = 13
    PROBE_MORE = 14
    RET_USER = 15
    MARK = 16
    OBS = 17
    WATCH_INIT = 18
    ENTER = 19
    EXIT = 20
    ENTER_MORE = 21
    PAGE_FREED = 22
    PAGE_ALLOCATED = 23
    DELAY = 24
    STRUCT_PAGES = 25
    COUNT = 30
    TRAILER = 31


KIND_TEXT: Final[dict[Kind, str]] = {
    Kind.ARMED: "recording starts; a=linear map VA, b=PA at that VA, c=kernel root PA, "
    "d=levels of a user root, level=levels of the kernel root, size=binary logarithm of the bytes "
    "of a kernel stack",
    Kind.ROOT_LEARN: "a root table became known; b=table PA, level, d=PA of the root that names "
    "its address space: b, or with PTI the kernel's root of the pair; id=how many slots it has (0 "
    "is 512); its slots follow",
    Kind.ROOT_FORGET: "a root table was given back; b=table PA",
    Kind.TABLE_LINK: "a table became reachable; a=PA of the parent slot, b=table PA, c=VA base, "
    "level of the table, d=root PA it was first reached from; its non-zero slots follow",
    Kind.TABLE_SLOT: "content of a table when it was learned; a=slot PA, c=value, d=VA, level",
    Kind.TABLE_UNLINK: "a table is no longer reachable; b=table PA, c=VA base, level",
    Kind.PTE_WRITE: "a slot of a known table changed; a=slot PA, b=old, c=new, d=VA, level",
    Kind.AUDIT_MISMATCH: "memory or an atomic's read disagreed with the shadow; a=slot PA, "
    "b=shadow, c=memory, d=VA, level",
    Kind.FLUSH: "a TLB invalidation ran; id=FlushOp, a=first VA (inclusive), b=end VA "
    "(exclusive, 0 when everything), c=ASID (arm64), d=raw operand, level=TTL level hint or 0",
    Kind.BARRIER: "a barrier ran; id=BarrierOp, a=encoded CRm (arm64 DSB domain and type)",
    Kind.ROOT_LOAD: "a translation root was loaded; id=RootReg, a=raw value, b=root PA (with PTI "
    "that of the kernel's root of the pair), c=ASID or PCID, d=the register's value before; x86: a "
    "CR3 load flushes this vCPU's non-global entries unless bit 63 of a is set",
    Kind.WATCH: "a watched word was written; id=watch, a=PA, b=old, c=new, d=base VA of its "
    "object; b=c when the old value is not known (x86: lock and, lock or)",
    Kind.WATCH_INIT: "a word is watched from here on; id=watch, a=PA, c=value, d=base VA of its "
    "object",
    Kind.PROBE: "execution reached a probe; id=probe, a..d=first captures",
    Kind.PROBE_MORE: "further captures of the PROBE record before it on this vCPU",
    Kind.RET_USER: "about to return to user mode; a=result register, b=user PC or 0",
    Kind.MARK: "the guest said something; id=Mark, a..d=arguments",
    Kind.OBS: "user access inside a declared range; a=VA, b=PA really used, c=value, "
    "d=equal accesses to this VA since the last record for it on this vCPU",
    Kind.ENTER: "a kernel function begins; id=Function, a=stack pointer, b..d=first arguments, "
    "further ones in ENTER_MORE",
    Kind.ENTER_MORE: "further arguments of the ENTER record before it on this vCPU",
    Kind.EXIT: "a kernel function is about to return; id=Function, a=stack pointer (that of its "
    "ENTER), b=result register",
    Kind.PAGE_FREED: "frames that user memory or a page table was in go back to the allocator; "
    "id=Function, a=PA of the first, b=frames of the block, c=bits of Use, d=how many of the "
    "frames had such a use",
    Kind.PAGE_ALLOCATED: "frames that user memory or a page table was in are allocated again; as "
    "PAGE_FREED",
    Kind.DELAY: "a vCPU was held back on purpose, until now, by a delay of the plan; id=its number "
    "there, a=ns asked for, b=ns it took, c=how often this vCPU has reached the point in phases, "
    "this arrival included, d=VA of the entry whose change was the point, else 0",
    Kind.STRUCT_PAGES: "where the kernel keeps the structures of frames (struct page); a=VA of "
    "that of the frame at PA 0, b=bytes of one",
    Kind.COUNT: "trailer: events of one kind on this vCPU; id=kind, a=count",
    Kind.TRAILER: "end of this file; a=records before it, b=events lost, c=tables re-read at "
    "unlink, d=slots re-read at unlink",
}


class Use(IntFlag):
    """What was in a frame since it was allocated."""

    LEAF = 1
    """User memory: a user slot mapped it."""
    TABLE = 2
    """A user page table."""


class FlushOp(IntEnum):
    """Which invalidation instruction ran."""

    INVLPG = 1
    CR4_WRITE = 2
    INVPCID = 3
    INVLPGB = 4
    TLBI_VA = 16
    TLBI_RANGE = 17
    TLBI_ASID = 18
    TLBI_ALL = 19
    TLBI_VA_ALL_ASID = 20
    TLBI_RANGE_ALL_ASID = 21


class BarrierOp(IntEnum):
    """Which barrier ran."""

    DSB = 1
    ISB = 2
    TLBSYNC = 3


class RootReg(IntEnum):
    """Which register holds the root."""

    CR3 = 1
    TTBR0 = 2
    TTBR1 = 3


class Watch(IntEnum):
    """Identity of a watched word."""

    MMAP_LOCK = 1
    MM_PGD = 2
    IS_LAZY = 3
    LOADED_MM = 4
    CPU_TLB_GEN = 5
    MM_LOCK_SEQ = 10
    MM_TREE = 11
    MM_TLB_GEN = 12
    MM_CONTEXT_ID = 13
    MM_WRITE_PROTECT_SEQ = 14
    MM_TLB_FLUSH_PENDING = 15
    MM_TLB_FLUSH_BATCHED = 16
    MM_PAGE_TABLE_LOCK = 17
    PTL = 20
    ASID_GENERATION = 21
    VMA_START = 30
    VMA_END = 31
    VMA_MM = 32
    VMA_FLAGS = 33
    VMA_PAGE_PROT = 34
    VMA_DETACHED = 35
    VMA_LOCK_SEQ = 36
    VMA_LOCK = 37
    VMA_REFCNT = 38


WATCH_TEXT: Final[dict[Watch, str]] = {
    Watch.MMAP_LOCK: "mm_struct.mmap_lock.count; base is the mm_struct",
    Watch.MM_PGD: "mm_struct.pgd; base is the mm_struct; its value is a root to learn",
    Watch.IS_LAZY: "x86 per-CPU cpu_tlbstate_shared.is_lazy; base is the CPU number",
    Watch.LOADED_MM: "x86 per-CPU cpu_tlbstate.loaded_mm; base is the CPU number",
    Watch.CPU_TLB_GEN: "x86 per-CPU cpu_tlbstate.ctxs[0].tlb_gen; base is the CPU number",
    Watch.MM_LOCK_SEQ: "mm_struct.mm_lock_seq; base is the mm_struct",
    Watch.MM_TREE: "mm_struct.mm_mt.ma_root; base is the mm_struct",
    Watch.MM_TLB_GEN: "x86 mm_struct.context.tlb_gen; base is the mm_struct",
    Watch.MM_CONTEXT_ID: "arm64 mm_struct.context.id: ASID and generation; base is the mm_struct",
    Watch.MM_WRITE_PROTECT_SEQ: "mm_struct.write_protect_seq; base is the mm_struct",
    Watch.MM_TLB_FLUSH_PENDING: "mm_struct.tlb_flush_pending; base is the mm_struct",
    Watch.MM_TLB_FLUSH_BATCHED: "mm_struct.tlb_flush_batched; base is the mm_struct",
    Watch.MM_PAGE_TABLE_LOCK: "mm_struct.page_table_lock, its locked byte; base is the mm_struct",
    Watch.PTL: "a table's own lock, its locked byte; base is the table's PA",
    Watch.ASID_GENERATION: "arm64 asid_generation; base is 0",
    Watch.VMA_START: "vm_area_struct.vm_start; base is the vm_area_struct",
    Watch.VMA_END: "vm_area_struct.vm_end; base is the vm_area_struct",
    Watch.VMA_MM: "vm_area_struct.vm_mm; base is the vm_area_struct",
    Watch.VMA_FLAGS: "vm_area_struct.vm_flags; base is the vm_area_struct",
    Watch.VMA_PAGE_PROT: "vm_area_struct.vm_page_prot; base is the vm_area_struct",
    Watch.VMA_DETACHED: "vm_area_struct.detached; base is the vm_area_struct",
    Watch.VMA_LOCK_SEQ: "vm_area_struct.vm_lock_seq; base is the vm_area_struct",
    Watch.VMA_LOCK: "count of the rw_semaphore behind vm_area_struct.vm_lock; base is the "
    "vm_area_struct",
    Watch.VMA_REFCNT: "vm_area_struct.vm_refcnt; base is the vm_area_struct",
}


class Probe(IntEnum):
    """Identity of a probed place in the kernel."""

    SYSCALL = 1
    TASK_SWITCH = 2
    FAULT = 3
    MM_ALLOC = 4
    MM_FREE = 5
    SWITCH_MM = 6


PROBE_TEXT: Final[dict[Probe, str]] = {
    Probe.SYSCALL: "system call entry; captures number, six arguments, user PC behind the call",
    Probe.TASK_SWITCH: "__switch_to entry; captures next task_struct, pid, tgid, mm, comm[0:8], "
    "comm[8:16], lowest VA of its kernel stack",
    Probe.FAULT: "page-fault handler entry; captures fault VA, error code or ESR",
    Probe.MM_ALLOC: "pgd_alloc entry; captures mm_struct",
    Probe.MM_FREE: "pgd_free entry; captures mm_struct, pgd VA",
    Probe.SWITCH_MM: "x86 switch_mm_irqs_off entry; captures next mm_struct",
}


class Mark(IntEnum):
    """What the guest says with the mark instruction."""

    THREAD = 1
    BEGIN = 2
    END = 3
    RANGE = 4
    UNRANGE = 5
    ITER = 6
    NOTE = 7


MARK_TEXT: Final[dict[Mark, str]] = {
    Mark.THREAD: "names the calling thread; a,b=16 characters, NUL padded",
    Mark.BEGIN: "a phase begins; a,b=16 characters, c=a number",
    Mark.END: "a phase ends; a,b=16 characters, c=a number",
    Mark.RANGE: "observe user accesses in a VA range; a=range number (0..7), b=first VA, c=bytes",
    Mark.UNRANGE: "stop observing; a=range number",
    Mark.ITER: "an iteration starts; a=its number",
    Mark.NOTE: "free use of the workload; a..d",
}
