/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The trace format. Made from pytool/shootdown/trace/schema.py; do not edit:
 * python -m shootdown.trace.generate
 */
#ifndef SHOOTDOWN_SCHEMA_H
#define SHOOTDOWN_SCHEMA_H

#include <stdint.h>

#define SD_VERSION	4
#define SD_MAGIC	"SHOOTDWN"
#define SD_HEADER_BYTES 4096
#define SD_RECORD_BYTES 64

/* kind: what happened */
enum sd_kind {
	/*
	 * recording starts; a=linear map VA, b=PA at that VA, c=kernel root PA, d=levels of a user
	 * root, level=levels of the kernel root, size=binary logarithm of the bytes of a kernel
	 * stack
	 */
	SD_KIND_ARMED = 1,
	/*
	 * a root table became known; b=table PA, level, d=PA of the root that names its address
	 * space: b, or with PTI the kernel's root of the pair; id=how many slots it has (0 is 512);
	 * its slots follow
	 */
	SD_KIND_ROOT_LEARN = 2,
	/* a root table was given back; b=table PA */
	SD_KIND_ROOT_FORGET = 3,
	/*
	 * a table became reachable; a=PA of the parent slot, b=table PA, c=VA base, level of the
	 * table, d=root PA it was first reached from; its non-zero slots follow
	 */
	SD_KIND_TABLE_LINK = 4,
	/* content of a table when it was learned; a=slot PA, c=value, d=VA, level */
	SD_KIND_TABLE_SLOT = 5,
	/* a table is no longer reachable; b=table PA, c=VA base, level */
	SD_KIND_TABLE_UNLINK = 6,
	/* a slot of a known table changed; a=slot PA, b=old, c=new, d=VA, level */
	SD_KIND_PTE_WRITE = 7,
	/*
	 * memory or an atomic's read disagreed with the shadow; a=slot PA, b=shadow, c=memory,
	 * d=VA, level
	 */
	SD_KIND_AUDIT_MISMATCH = 8,
	/*
	 * a TLB invalidation ran; id=FlushOp, a=first VA (inclusive), b=end VA (exclusive, 0 when
	 * everything), c=ASID (arm64), d=raw operand, level=TTL level hint or 0
	 */
	SD_KIND_FLUSH = 9,
	/* a barrier ran; id=BarrierOp, a=encoded CRm (arm64 DSB domain and type) */
	SD_KIND_BARRIER = 10,
	/*
	 * a translation root was loaded; id=RootReg, a=raw value, b=root PA (with PTI that of the
	 * kernel's root of the pair), c=ASID or PCID, d=the register's value before; x86: a CR3
	 * load flushes this vCPU's non-global entries unless bit 63 of a is set
	 */
	SD_KIND_ROOT_LOAD = 11,
	/*
	 * a watched word was written; id=watch, a=PA, b=old, c=new, d=base VA of its object; b=c
	 * when the old value is not known (x86: lock and, lock or)
	 */
	SD_KIND_WATCH = 12,
	/* execution reached a probe; id=probe, a..d=first captures */
	SD_KIND_PROBE = 13,
	/* further captures of the PROBE record before it on this vCPU */
	SD_KIND_PROBE_MORE = 14,
	/* about to return to user mode; a=result register, b=user PC or 0 */
	SD_KIND_RET_USER = 15,
	/* the guest said something; id=Mark, a..d=arguments */
	SD_KIND_MARK = 16,
	/*
	 * user access inside a declared range; a=VA, b=PA really used, c=value, d=equal accesses to
	 * this VA since the last record for it on this vCPU
	 */
	SD_KIND_OBS = 17,
	/* a word is watched from here on; id=watch, a=PA, c=value, d=base VA of its object */
	SD_KIND_WATCH_INIT = 18,
	/*
	 * a kernel function begins; id=Function, a=stack pointer, b..d=first arguments, further
	 * ones in ENTER_MORE
	 */
	SD_KIND_ENTER = 19,
	/*
	 * a kernel function is about to return; id=Function, a=stack pointer (that of its ENTER),
	 * b=result register
	 */
	SD_KIND_EXIT = 20,
	/* further arguments of the ENTER record before it on this vCPU */
	SD_KIND_ENTER_MORE = 21,
	/*
	 * frames that user memory or a page table was in go back to the allocator; id=Function,
	 * a=PA of the first, b=frames of the block, c=bits of Use, d=how many of the frames had
	 * such a use
	 */
	SD_KIND_PAGE_FREED = 22,
	/* frames that user memory or a page table was in are allocated again; as PAGE_FREED */
	SD_KIND_PAGE_ALLOCATED = 23,
	/*
	 * a vCPU was held back on purpose, until now, by a delay of the plan; id=its number there,
	 * a=ns asked for, b=ns it took, c=how often this vCPU has reached the point in phases, this
	 * arrival included, d=VA of the entry whose change was the point, else 0
	 */
	SD_KIND_DELAY = 24,
	/*
	 * where the kernel keeps the structures of frames (struct page); a=VA of that of the frame
	 * at PA 0, b=bytes of one
	 */
	SD_KIND_STRUCT_PAGES = 25,
	/* trailer: events of one kind on this vCPU; id=kind, a=count */
	SD_KIND_COUNT = 30,
	/*
	 * end of this file; a=records before it, b=events lost, c=tables re-read at unlink, d=slots
	 * re-read at unlink
	 */
	SD_KIND_TRAILER = 31,
};

/* flags: bits */
enum sd_flag {
	/* The store was part of an atomic read-modify-write; b is what it read */
	SD_FLAG_ATOMIC = 1,
	/* OBS: the access was a store */
	SD_FLAG_STORE = 2,
	/* OBS: written for its count only, when an address is no longer followed; no access now */
	SD_FLAG_LAST = 4,
	/* FLUSH: affects the issuing vCPU only */
	SD_FLAG_LOCAL = 8,
	/* FLUSH: last-level entries only, walk-cache entries survive */
	SD_FLAG_LEAF = 16,
	/* FLUSH: every address space, global entries included */
	SD_FLAG_ALL_ASID = 32,
	/* PROBE, ENTER: a record with further captures follows from this vCPU */
	SD_FLAG_MORE = 64,
	/* EXIT: by a jump to another function, whose result it will be; b is none */
	SD_FLAG_TAIL = 128,
};

/* use of a frame: bits of c in PAGE_FREED */
enum sd_use {
	/* User memory: a user slot mapped it */
	SD_USE_LEAF = 1,
	/* A user page table */
	SD_USE_TABLE = 2,
};

/* id of FLUSH */
enum sd_flush {
	/* x86 INVLPG: one VA on this vCPU, all page sizes, global entries too */
	SD_FLUSH_INVLPG = 1,
	/* x86 CR4 write that flips PGE, PCIDE or SMEP: everything here */
	SD_FLUSH_CR4_WRITE = 2,
	/* x86 INVPCID */
	SD_FLUSH_INVPCID = 3,
	/* x86 INVLPGB: broadcast, complete at the issuer's TLBSYNC */
	SD_FLUSH_INVLPGB = 4,
	/* arm64 TLBI by VA in one ASID */
	SD_FLUSH_TLBI_VA = 16,
	/* arm64 TLBI by VA range in one ASID */
	SD_FLUSH_TLBI_RANGE = 17,
	/* arm64 TLBI of one ASID */
	SD_FLUSH_TLBI_ASID = 18,
	/* arm64 TLBI of everything */
	SD_FLUSH_TLBI_ALL = 19,
	/* arm64 TLBI by VA in every ASID */
	SD_FLUSH_TLBI_VA_ALL_ASID = 20,
	/* arm64 TLBI by VA range in every ASID */
	SD_FLUSH_TLBI_RANGE_ALL_ASID = 21,
};

/* id of BARRIER */
enum sd_barrier {
	/* arm64 DSB */
	SD_BARRIER_DSB = 1,
	/* arm64 ISB */
	SD_BARRIER_ISB = 2,
	/* x86 TLBSYNC */
	SD_BARRIER_TLBSYNC = 3,
};

/* id of ROOT_LOAD */
enum sd_root {
	/* x86 CR3 */
	SD_ROOT_CR3 = 1,
	/* arm64 TTBR0_EL1: the user half */
	SD_ROOT_TTBR0 = 2,
	/* arm64 TTBR1_EL1: the kernel half */
	SD_ROOT_TTBR1 = 3,
};

/* id of WATCH and WATCH_INIT */
enum sd_watch {
	/* mm_struct.mmap_lock.count; base is the mm_struct */
	SD_WATCH_MMAP_LOCK = 1,
	/* mm_struct.pgd; base is the mm_struct; its value is a root to learn */
	SD_WATCH_MM_PGD = 2,
	/* x86 per-CPU cpu_tlbstate_shared.is_lazy; base is the CPU number */
	SD_WATCH_IS_LAZY = 3,
	/* x86 per-CPU cpu_tlbstate.loaded_mm; base is the CPU number */
	SD_WATCH_LOADED_MM = 4,
	/* x86 per-CPU cpu_tlbstate.ctxs[0].tlb_gen; base is the CPU number */
	SD_WATCH_CPU_TLB_GEN = 5,
	/* mm_struct.mm_lock_seq; base is the mm_struct */
	SD_WATCH_MM_LOCK_SEQ = 10,
	/* mm_struct.mm_mt.ma_root; base is the mm_struct */
	SD_WATCH_MM_TREE = 11,
	/* x86 mm_struct.context.tlb_gen; base is the mm_struct */
	SD_WATCH_MM_TLB_GEN = 12,
	/* arm64 mm_struct.context.id: ASID and generation; base is the mm_struct */
	SD_WATCH_MM_CONTEXT_ID = 13,
	/* mm_struct.write_protect_seq; base is the mm_struct */
	SD_WATCH_MM_WRITE_PROTECT_SEQ = 14,
	/* mm_struct.tlb_flush_pending; base is the mm_struct */
	SD_WATCH_MM_TLB_FLUSH_PENDING = 15,
	/* mm_struct.tlb_flush_batched; base is the mm_struct */
	SD_WATCH_MM_TLB_FLUSH_BATCHED = 16,
	/* mm_struct.page_table_lock, its locked byte; base is the mm_struct */
	SD_WATCH_MM_PAGE_TABLE_LOCK = 17,
	/* a table's own lock, its locked byte; base is the table's PA */
	SD_WATCH_PTL = 20,
	/* arm64 asid_generation; base is 0 */
	SD_WATCH_ASID_GENERATION = 21,
	/* vm_area_struct.vm_start; base is the vm_area_struct */
	SD_WATCH_VMA_START = 30,
	/* vm_area_struct.vm_end; base is the vm_area_struct */
	SD_WATCH_VMA_END = 31,
	/* vm_area_struct.vm_mm; base is the vm_area_struct */
	SD_WATCH_VMA_MM = 32,
	/* vm_area_struct.vm_flags; base is the vm_area_struct */
	SD_WATCH_VMA_FLAGS = 33,
	/* vm_area_struct.vm_page_prot; base is the vm_area_struct */
	SD_WATCH_VMA_PAGE_PROT = 34,
	/* vm_area_struct.detached; base is the vm_area_struct */
	SD_WATCH_VMA_DETACHED = 35,
	/* vm_area_struct.vm_lock_seq; base is the vm_area_struct */
	SD_WATCH_VMA_LOCK_SEQ = 36,
	/* count of the rw_semaphore behind vm_area_struct.vm_lock; base is the vm_area_struct */
	SD_WATCH_VMA_LOCK = 37,
	/* vm_area_struct.vm_refcnt; base is the vm_area_struct */
	SD_WATCH_VMA_REFCNT = 38,
};

/* id of PROBE and PROBE_MORE */
enum sd_probe {
	/* system call entry; captures number, six arguments, user PC behind the call */
	SD_PROBE_SYSCALL = 1,
	/*
	 * __switch_to entry; captures next task_struct, pid, tgid, mm, comm[0:8], comm[8:16],
	 * lowest VA of its kernel stack
	 */
	SD_PROBE_TASK_SWITCH = 2,
	/* page-fault handler entry; captures fault VA, error code or ESR */
	SD_PROBE_FAULT = 3,
	/* pgd_alloc entry; captures mm_struct */
	SD_PROBE_MM_ALLOC = 4,
	/* pgd_free entry; captures mm_struct, pgd VA */
	SD_PROBE_MM_FREE = 5,
	/* x86 switch_mm_irqs_off entry; captures next mm_struct */
	SD_PROBE_SWITCH_MM = 6,
};

/* id of MARK */
enum sd_mark {
	/* names the calling thread; a,b=16 characters, NUL padded */
	SD_MARK_THREAD = 1,
	/* a phase begins; a,b=16 characters, c=a number */
	SD_MARK_BEGIN = 2,
	/* a phase ends; a,b=16 characters, c=a number */
	SD_MARK_END = 3,
	/* observe user accesses in a VA range; a=range number (0..7), b=first VA, c=bytes */
	SD_MARK_RANGE = 4,
	/* stop observing; a=range number */
	SD_MARK_UNRANGE = 5,
	/* an iteration starts; a=its number */
	SD_MARK_ITER = 6,
	/* free use of the workload; a..d */
	SD_MARK_NOTE = 7,
};

/* One record. */
struct sd_event {
	/* global sequence number, drawn after the access; unique */
	uint64_t seq;
	/* guest instructions executed by all vCPUs so far, counted per translation block */
	uint64_t icount;
	/* VA of the instruction; of the kernel's image, as it was linked */
	uint64_t pc;
	/* see the kind */
	uint64_t a;
	/* see the kind */
	uint64_t b;
	/* see the kind */
	uint64_t c;
	/* see the kind */
	uint64_t d;
	/* the kind of event */
	uint16_t kind;
	/* probe, watch, mark or flush identity; see the kind */
	uint16_t id;
	/* vCPU index */
	uint8_t cpu;
	/* page-table level: 1 maps pages, the root is the highest */
	uint8_t level;
	/* bytes of the access */
	uint8_t size;
	/* bits of Flag */
	uint8_t flags;
} __attribute__((packed));

_Static_assert(sizeof(struct sd_event) == SD_RECORD_BYTES, "a record is packed");

/* The first bytes of a trace file; zeros follow up to SD_HEADER_BYTES. */
struct sd_file_header {
	/* "SHOOTDWN", no NUL */
	char magic[8];
	/* version of the schema */
	uint32_t version;
	/* offset of the first record */
	uint32_t header_bytes;
	/* size of a record */
	uint32_t record_bytes;
	/* vCPU index */
	uint32_t cpu;
	/* host CLOCK_REALTIME when the file was opened */
	uint64_t start_realtime_ns;
	/* bytes that KASLR added to the VAs of the kernel's image, once ARMED */
	uint64_t slide;
} __attribute__((packed));

#endif
