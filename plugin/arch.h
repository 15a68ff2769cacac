/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SD_ARCH_H
#define SD_ARCH_H

#include "sd.h"

enum { SD_MAX_REGS = 64, SD_NO_REG = 0xff };

/* What the generic core does when an instruction runs. */
enum sd_insn_kind {
	SD_INSN_PLAIN, /* stores by it are followed */
	SD_INSN_STACK, /* stores only to the kernel stack: never a page table */
	SD_INSN_RMW,   /* an atomic, see rmw */
	SD_INSN_EXEC,  /* run arch->exec before it */
	SD_INSN_MARK,  /* user mode: a mark */
};

/* A decoded instruction; those with exec callbacks are interned. */
struct sd_insn {
	uint64_t pc;
	uint8_t kind, rmw, op, reg;
	/* memory operand, x86 only: base + index << scale + disp */
	uint8_t base, index, scale, len;
	int32_t disp;
	uint32_t word; /* arm64: the instruction */
	uint16_t mark;
};

struct sd_arch {
	const char *name;	 /* as in plans */
	const char *target;	 /* as QEMU says it */
	const char *const *regs; /* gdb's names, NULL ends */
	uint8_t args[4];	 /* registers of a mark's arguments */
	uint8_t roots[2];	 /* registers that hold translation roots, SD_NO_REG for none */
	uint8_t percpu[2];	 /* registers of which one holds this CPU's per-CPU offset */

	void (*decode)(struct sd_insn *insn, const uint8_t *bytes, size_t len, bool kernel);
	/* About to run an SD_INSN_EXEC instruction; may read registers. */
	void (*exec)(unsigned cpu, const struct sd_insn *insn);
	/* Whether an SD_INSN_EXEC instruction loads the root of a user's address space. */
	bool (*loads_root)(const struct sd_insn *insn);
	/* Recording starts: find out how deep root tables are. */
	void (*arm)(unsigned cpu, unsigned *kernel_levels, unsigned *user_levels);
	/* Recording starts, and a vCPU has @value in one of its root registers. */
	void (*loaded)(unsigned cpu, unsigned reg, uint64_t value);

	bool (*is_table)(uint64_t entry, unsigned level);
	bool (*is_leaf)(uint64_t entry, unsigned level); /* valid, and maps memory */
	bool (*is_writable)(uint64_t entry); /* a leaf of level 1: user stores need no fault */
	uint64_t (*child)(uint64_t entry);
	/* First VA below a root table. */
	uint64_t (*root_va)(bool kernel, unsigned levels);
	uint64_t twin;			   /* PA bit that tells the second root of a pair, or 0 */
	uint64_t scratch_va, scratch_size; /* VAs where the kernel maps tables to edit them */
	bool root_signed;		   /* one root maps both halves: VAs are sign-extended */
	uint64_t slide_align;		   /* KASLR moves the image by a multiple, in bytes */
	/* Bits the page walker may change without a store. */
	uint64_t (*hardware_bits)(uint64_t entry, unsigned level);
};

extern const struct sd_arch sd_arch_x86_64, sd_arch_arm64;
extern const struct sd_arch *sd_arch;

/* Registers by index into sd_arch->regs. */
bool sd_regs_find(void);
uint64_t sd_reg(unsigned cpu, unsigned index);
/* Index of gdb's name, or SD_NO_REG. */
unsigned sd_reg_index(const char *name);

/*
 * Which vCPU a callback is about. With thread=single QEMU 10.0 passes the index of
 * the vCPU that translated the block (accel/tcg/plugin-gen.c, gen_cpu_index), so
 * the per-CPU offset that Linux keeps in a register has to tell.
 */
void sd_self_offsets(unsigned cpu, uint64_t array);
unsigned sd_self_by_offset(unsigned hint);
extern bool sd_single;
/*
 * Atomics go through QEMU's atomic helpers. With thread=single, and with one vCPU
 * however it is run, they are a plain load and a plain store (CF_PARALLEL in
 * accel/tcg/tcg-accel-ops-mttcg.c, tcg/tcg-op-ldst.c).
 */
extern bool sd_parallel;

static inline unsigned sd_self(unsigned cpu)
{
	return G_LIKELY(!sd_single) ? cpu : sd_self_by_offset(cpu);
}

#endif
