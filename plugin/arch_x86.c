/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * x86-64: just enough decoding to know stores to the stack, atomics, the TLB and
 * root instructions, returns to user mode, and marks. References: Intel SDM
 * volume 2 (encodings), volume 3 chapter 4 (paging).
 */
#include <string.h>

#include "arch.h"
#include "delay.h"
#include "observe.h"
#include "tables.h"
#include "trace.h"

/* The first sixteen are in encoding order. */
static const char *const regs[] = { "rax", "rcx", "rdx",     "rbx",	  "rsp", "rbp",
				    "rsi", "rdi", "r8",	     "r9",	  "r10", "r11",
				    "r12", "r13", "r14",     "r15",	  "cr0", "cr2",
				    "cr3", "cr4", "gs_base", "k_gs_base", NULL };
enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, CR3 = 18, CR4, GS_BASE, K_GS_BASE };
enum { RIP = 0x40 }; /* "base" of a RIP-relative operand */

enum op { OP_INVLPG, OP_CR3, OP_CR4, OP_INVPCID, OP_INVLPGB, OP_TLBSYNC, OP_SYSRET, OP_IRET };

enum {
	PG_PRESENT = 1,
	PG_RW = 1 << 1,
	PG_USER = 1 << 2,
	PG_ACCESSED = 1 << 5,
	PG_DIRTY = 1 << 6,
	PG_PSE = 1 << 7
};
static const uint64_t ADDR_MASK = 0x000ffffffffff000ull;
static const uint64_t CR4_PGE = 1ull << 7, CR4_LA57 = 1ull << 12, CR4_PCIDE = 1ull << 17,
		      CR4_SMEP = 1ull << 20;

/* Where decoding stands: prefixes seen, then opcode and ModRM. */
struct cursor {
	const uint8_t *p, *end;
	uint8_t rex, modrm;
	bool lock, osize, rep;
};

static uint8_t next(struct cursor *c)
{
	return c->p < c->end ? *c->p++ : 0;
}

static void prefixes(struct cursor *c)
{
	while (c->p < c->end) {
		uint8_t b = *c->p;

		if (b == 0xf0)
			c->lock = true;
		else if (b == 0x66)
			c->osize = true;
		else if (b == 0xf2 || b == 0xf3)
			c->rep = true;
		else if ((b & 0xf0) != 0x40 && b != 0x67 && b != 0x2e && b != 0x36 && b != 0x3e &&
			 b != 0x26 && b != 0x64 && b != 0x65)
			return;
		c->rex = (b & 0xf0) == 0x40 ? b : 0; /* void unless it is the last prefix */
		c->p++;
	}
}

static unsigned reg_field(const struct cursor *c)
{
	return (c->modrm >> 3) & 7;
}

static bool is_memory(const struct cursor *c)
{
	return c->modrm < 0xc0;
}

/* Read ModRM, SIB and displacement into the operand of @insn. */
static void operand(struct cursor *c, struct sd_insn *insn)
{
	unsigned mod, rm, disp = 0;

	c->modrm = next(c);
	mod = c->modrm >> 6;
	rm = c->modrm & 7;
	insn->base = insn->index = SD_NO_REG;
	if (mod == 3) {
		insn->reg = (uint8_t)(rm | (c->rex & 1) << 3);
		return;
	}
	if (rm == 4) {
		uint8_t sib = next(c);
		unsigned index = ((sib >> 3) & 7) | (c->rex & 2) << 2;

		insn->scale = sib >> 6;
		if (index != 4)
			insn->index = (uint8_t)index;
		rm = sib & 7;
		if (rm != 5 || mod)
			insn->base = (uint8_t)(rm | (c->rex & 1) << 3);
		else
			disp = 4;
	} else if (rm == 5 && !mod) {
		insn->base = RIP;
		disp = 4;
	} else {
		insn->base = (uint8_t)(rm | (c->rex & 1) << 3);
	}
	disp = mod == 1 ? 1 : mod == 2 ? 4 : disp;
	if (disp == 1)
		insn->disp = (int8_t)next(c);
	if (disp == 4 && c->end - c->p >= 4) {
		memcpy(&insn->disp, c->p, 4);
		c->p += 4;
	}
}

/* Whether a one-byte opcode has a ModRM byte. */
static bool has_modrm(uint8_t op)
{
	if (op < 0x40)
		return (op & 7) < 4;
	return op == 0x63 || op == 0x69 || op == 0x6b || (op >= 0x80 && op <= 0x8f) || op == 0xc0 ||
	       op == 0xc1 || op == 0xc6 || op == 0xc7 || (op >= 0xd0 && op <= 0xd3) || op == 0xf6 ||
	       op == 0xf7 || op == 0xfe || op == 0xff;
}

static void set_exec(struct sd_insn *insn, enum op op)
{
	insn->kind = SD_INSN_EXEC;
	insn->op = (uint8_t)op;
}

static void set_rmw(struct sd_insn *insn, enum sd_rmw rmw)
{
	insn->kind = SD_INSN_RMW;
	insn->rmw = (uint8_t)rmw;
	insn->reg = RAX;
}

/* What QEMU reports for a locked ALU operation: target/i386/tcg/emit.c.inc. */
static enum sd_rmw alu_rmw(unsigned op)
{
	static const uint8_t map[] = { SD_RMW_ADD_FETCH, SD_RMW_OR_FETCH,  SD_RMW_ADD_FETCH,
				       SD_RMW_ADD_FETCH, SD_RMW_AND_FETCH, SD_RMW_FETCH_ADD,
				       SD_RMW_XOR_FETCH, SD_RMW_OTHER };
	return map[op & 7];
}

static enum sd_rmw one_byte_rmw(const struct cursor *c, uint8_t op)
{
	if (op == 0x86 || op == 0x87)
		return SD_RMW_XCHG; /* locked with or without the prefix */
	if (!c->lock)
		return SD_RMW_NONE;
	if (op < 0x40)
		return alu_rmw(op >> 3);
	if (op >= 0x80 && op <= 0x83)
		return alu_rmw(reg_field(c));
	if ((op == 0xfe || op == 0xff) && reg_field(c) < 2)
		return SD_RMW_ADD_FETCH;
	if ((op == 0xf6 || op == 0xf7) && reg_field(c) == 2)
		return SD_RMW_XOR_FETCH;
	return SD_RMW_OTHER;
}

static enum sd_rmw two_byte_rmw(const struct cursor *c, uint8_t op)
{
	if (!c->lock)
		return SD_RMW_NONE;
	switch (op) {
	case 0xb0:
	case 0xb1:
		return SD_RMW_CMPXCHG;
	case 0xc0:
	case 0xc1:
		return SD_RMW_FETCH_ADD;
	case 0xab:
		return SD_RMW_FETCH_OR;
	case 0xb3:
		return SD_RMW_FETCH_AND;
	case 0xbb:
		return SD_RMW_FETCH_XOR;
	case 0xba:
		return reg_field(c) == 5   ? SD_RMW_FETCH_OR
		       : reg_field(c) == 6 ? SD_RMW_FETCH_AND
		       : reg_field(c) == 7 ? SD_RMW_FETCH_XOR
					   : SD_RMW_OTHER;
	default:
		return SD_RMW_OTHER;
	}
}

static void finish_memory(struct sd_insn *insn, const struct cursor *c, enum sd_rmw rmw)
{
	if (!is_memory(c))
		return;
	if (rmw)
		set_rmw(insn, rmw);
	else if (insn->base == RSP)
		insn->kind = SD_INSN_STACK;
}

static void decode_two_byte(struct cursor *c, struct sd_insn *insn)
{
	uint8_t op = next(c);

	if (op == 0x07) {
		set_exec(insn, OP_SYSRET);
		return;
	}
	if (op == 0x38) {
		op = next(c);
		operand(c, insn);
		if (op == 0x82 && c->osize && is_memory(c))
			set_exec(insn, OP_INVPCID);
		return;
	}
	if (op == 0x3a || (op >= 0x80 && op <= 0x8f) || (op >= 0x30 && op <= 0x37) || op == 0x05 ||
	    op == 0x06 || op == 0x08 || op == 0x09 || op == 0x0b || op == 0x77 ||
	    (op >= 0xc8 && op <= 0xcf) || op == 0xa2)
		return;
	if (op == 0xa0 || op == 0xa8) {
		insn->kind = SD_INSN_STACK; /* push %fs, %gs */
		return;
	}
	operand(c, insn);
	if (op == 0x01 && is_memory(c) && reg_field(c) == 7)
		set_exec(insn, OP_INVLPG);
	else if (op == 0x01 && (c->modrm == 0xfe || c->modrm == 0xff))
		set_exec(insn, c->modrm == 0xfe ? OP_INVLPGB : OP_TLBSYNC);
	else if (op == 0x22 && !(c->rex & 4) && (reg_field(c) == 3 || reg_field(c) == 4))
		set_exec(insn, reg_field(c) == 3 ? OP_CR3 : OP_CR4);
	else
		finish_memory(insn, c, two_byte_rmw(c, op));
}

static void decode_kernel(struct sd_insn *insn, const uint8_t *bytes, size_t len)
{
	struct cursor c = { .p = bytes, .end = bytes + len };
	uint8_t op;

	prefixes(&c);
	op = next(&c);
	if (op == 0x0f) {
		decode_two_byte(&c, insn);
	} else if ((op >= 0x50 && op <= 0x57) || op == 0xe8 || op == 0x68 || op == 0x6a ||
		   op == 0x9c || op == 0xc8) {
		insn->kind = SD_INSN_STACK;
	} else if (op == 0xcf) {
		set_exec(insn, OP_IRET);
	} else if (has_modrm(op)) {
		operand(&c, insn);
		/* call *mem and push mem read the operand and store to the stack */
		if (op == 0xff && (reg_field(&c) == 2 || reg_field(&c) == 6))
			insn->kind = SD_INSN_STACK;
		else
			finish_memory(insn, &c, one_byte_rmw(&c, op));
	}
}

static void decode(struct sd_insn *insn, const uint8_t *bytes, size_t len, bool kernel)
{
	static const uint8_t nop[] = { 0x0f, 0x1f, 0x84, 0x00 };
	uint32_t imm;

	insn->kind = SD_INSN_PLAIN;
	insn->len = (uint8_t)len;
	if (kernel) {
		decode_kernel(insn, bytes, len);
		return;
	}
	if (len != 8 || memcmp(bytes, nop, sizeof(nop)))
		return;
	memcpy(&imm, bytes + 4, 4);
	if ((imm & ~0xffu) != 0x53440000u)
		return;
	insn->kind = SD_INSN_MARK;
	insn->mark = imm & 0xff;
}

static uint64_t effective_address(unsigned cpu, const struct sd_insn *insn)
{
	uint64_t va = (uint64_t)(int64_t)insn->disp;

	if (insn->base == RIP)
		va += insn->pc + insn->len;
	else if (insn->base != SD_NO_REG)
		va += sd_reg(cpu, insn->base);
	if (insn->index != SD_NO_REG)
		va += sd_reg(cpu, insn->index) << insn->scale;
	return va;
}

static void root_load(unsigned cpu, uint64_t pc, uint64_t value, uint64_t old)
{
	uint64_t pa = value & ADDR_MASK;

	sd_root_learn(cpu, pc, pa, false);
	sd_emit(cpu, &(struct sd_event){ .kind = SD_KIND_ROOT_LOAD,
					 .id = SD_ROOT_CR3,
					 .pc = pc,
					 .a = value,
					 .b = sd_root_first(pa),
					 .c = value & 0xfff,
					 .d = old });
	sd_epoch_bump();
	if (pa != (old & ADDR_MASK))
		sd_delay_root(cpu);
}

static void flush(unsigned cpu, const struct sd_insn *insn, enum sd_flush op, uint64_t va,
		  uint64_t raw)
{
	bool one = op == SD_FLUSH_INVLPG;

	sd_emit(cpu, &(struct sd_event){ .kind = SD_KIND_FLUSH,
					 .id = op,
					 .pc = insn->pc,
					 .a = one ? va & ~0xfffull : 0,
					 .b = one ? (va & ~0xfffull) + 0x1000 : 0,
					 .d = raw,
					 .flags = SD_FLAG_LOCAL | (one ? 0 : SD_FLAG_ALL_ASID) });
	sd_epoch_bump();
}

static void ret_user(unsigned cpu, const struct sd_insn *insn, uint64_t user_pc)
{
	__atomic_store_n(&sd_user_seen, true, __ATOMIC_RELAXED);
	sd_emit(cpu, &(struct sd_event){ .kind = SD_KIND_RET_USER,
					 .pc = insn->pc,
					 .a = sd_reg(cpu, RAX),
					 .b = user_pc });
	sd_epoch_bump();
}

/* IRET pops RIP and CS first: CS says whether user mode is next. */
static void iret(unsigned cpu, const struct sd_insn *insn)
{
	uint64_t frame[2];

	if (sd_read_va(cpu, sd_reg(cpu, RSP), frame, sizeof(frame)) && (frame[1] & 3) == 3)
		ret_user(cpu, insn, frame[0]);
}

/* SDM volume 3, 4.10.4.1: PGE changed, PCIDE cleared, or SMEP set. */
static bool cr4_flushes(uint64_t old, uint64_t new)
{
	return ((old ^ new) & CR4_PGE) || (old & ~new &CR4_PCIDE) || (~old & new &CR4_SMEP);
}

static void exec(unsigned cpu, const struct sd_insn *insn)
{
	uint64_t value;

	switch (insn->op) {
	case OP_SYSRET:
		ret_user(cpu, insn, sd_reg(cpu, RCX));
		return;
	case OP_IRET:
		iret(cpu, insn);
		return;
	case OP_CR3:
		root_load(cpu, insn->pc, sd_reg(cpu, insn->reg), sd_reg(cpu, CR3));
		return;
	case OP_INVLPG:
		value = effective_address(cpu, insn);
		flush(cpu, insn, SD_FLUSH_INVLPG, value, value);
		return;
	case OP_CR4:
		value = sd_reg(cpu, insn->reg);
		if (cr4_flushes(sd_reg(cpu, CR4), value))
			flush(cpu, insn, SD_FLUSH_CR4_WRITE, 0, value);
		return;
	case OP_INVPCID:
		flush(cpu, insn, SD_FLUSH_INVPCID, 0, effective_address(cpu, insn));
		return;
	case OP_INVLPGB:
		flush(cpu, insn, SD_FLUSH_INVLPGB, 0, sd_reg(cpu, RAX));
		return;
	case OP_TLBSYNC:
		sd_emit(cpu, &(struct sd_event){ .kind = SD_KIND_BARRIER,
						 .id = SD_BARRIER_TLBSYNC,
						 .pc = insn->pc });
		return;
	}
}

static bool loads_root(const struct sd_insn *insn)
{
	return insn->op == OP_CR3;
}

static void arm(unsigned cpu, unsigned *kernel_levels, unsigned *user_levels)
{
	*kernel_levels = *user_levels = sd_reg(cpu, CR4) & CR4_LA57 ? 5 : 4;
	sd_tables_set_roots(*kernel_levels, *user_levels, SD_SLOTS);
}

static void loaded(unsigned cpu, unsigned reg, uint64_t value)
{
	(void)reg; /* there is but one */
	root_load(cpu, 0, value, 0);
}

static bool is_table(uint64_t entry, unsigned level)
{
	return level > 1 && (entry & PG_PRESENT) && (level > 3 || !(entry & PG_PSE));
}

static bool is_leaf(uint64_t entry, unsigned level)
{
	return (entry & PG_PRESENT) && !is_table(entry, level);
}

static bool is_writable(uint64_t entry)
{
	return (entry & (PG_RW | PG_USER)) == (PG_RW | PG_USER);
}

static uint64_t child(uint64_t entry)
{
	return entry & ADDR_MASK;
}

static uint64_t root_va(bool kernel, unsigned levels)
{
	(void)kernel;
	(void)levels;
	return 0;
}

static uint64_t hardware_bits(uint64_t entry, unsigned level)
{
	if (!(entry & PG_PRESENT))
		return 0;
	return is_table(entry, level) ? PG_ACCESSED : PG_ACCESSED | PG_DIRTY;
}

const struct sd_arch sd_arch_x86_64 = {
	.name = "x86_64",
	.target = "x86_64",
	.regs = regs,
	.args = { RDI, RSI, RDX, RCX },
	.roots = { CR3, SD_NO_REG },
	.percpu = { GS_BASE, K_GS_BASE },
	.decode = decode,
	.exec = exec,
	.loads_root = loads_root,
	.arm = arm,
	.loaded = loaded,
	.is_table = is_table,
	.is_leaf = is_leaf,
	.is_writable = is_writable,
	.child = child,
	.root_va = root_va,
	.twin = 0x1000, /* arch/x86/include/asm/pgtable.h: PTI_PGTABLE_SWITCH_BIT */
	.root_signed = true,
	.slide_align = 1ull << 21, /* arch/x86/Kconfig: PHYSICAL_ALIGN is that or a multiple */
	.hardware_bits = hardware_bits,
};
