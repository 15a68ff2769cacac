/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * arm64: atomics, TLBI, DSB, ISB, translation roots, ERET, and marks. References:
 * Arm ARM (DDI 0487) C4 (encodings), C5.5 (TLBI operands), D8 (translation).
 */
#include <string.h>

#include "arch.h"
#include "delay.h"
#include "observe.h"
#include "tables.h"
#include "trace.h"

static const char *const regs[] = {
	"x0",	     "x1",	"x2",	    "x3",      "x4",	    "x5",  "x6",  "x7",
	"x8",	     "x9",	"x10",	    "x11",     "x12",	    "x13", "x14", "x15",
	"x16",	     "x17",	"x18",	    "x19",     "x20",	    "x21", "x22", "x23",
	"x24",	     "x25",	"x26",	    "x27",     "x28",	    "x29", "x30", "TTBR0_EL1",
	"TTBR1_EL1", "TCR_EL1", "SPSR_EL1", "ELR_EL1", "TPIDR_EL1", "sp",  NULL
};
enum { X0, XZR = 31, TTBR0 = 31, TTBR1, TCR, SPSR, ELR, TPIDR };

static const uint64_t TCR_DS = 1ull << 59;

enum op { OP_TLBI, OP_DSB, OP_ISB, OP_TTBR0, OP_TTBR1, OP_ERET };

static const uint64_t ADDR_MASK = 0x0000fffffffff000ull;

/* What TCR_EL1 says; set when recording starts. */
static unsigned kernel_va_bits = 48;
static uint64_t root_bytes = SD_PAGE_SIZE;
static bool ds; /* FEAT_LPA2 is in use: addresses have 52 bits, and lie elsewhere */

/* --- decoding ---------------------------------------------------------- */

static void set_exec(struct sd_insn *insn, enum op op, uint32_t word)
{
	insn->kind = SD_INSN_EXEC;
	insn->op = (uint8_t)op;
	insn->reg = word & 31;
}

/* LSE atomics, C4.1.94: size 111 0 00 A R 1 Rs o3 opc 00 Rn Rt */
static enum sd_rmw lse(uint32_t w)
{
	static const uint8_t map[] = { SD_RMW_FETCH_ADD, SD_RMW_FETCH_AND, SD_RMW_FETCH_XOR,
				       SD_RMW_FETCH_OR,	 SD_RMW_OTHER,	   SD_RMW_OTHER,
				       SD_RMW_OTHER,	 SD_RMW_OTHER };

	unsigned opc = (w >> 12) & 7;

	if ((w & 0xbf200c00) == 0x19200000)
		return SD_RMW_OTHER; /* 128 bits: LDCLRP, LDSETP, SWPP, RCW...P */
	if ((w & 0x3f200c00) != 0x38200000)
		return SD_RMW_NONE;
	if (!(w & 0x8000))
		return map[opc];
	if (!opc)
		return SD_RMW_XCHG;
	return opc < 4 && !(w >> 31) ? SD_RMW_OTHER : SD_RMW_NONE; /* RCW...; LDAPR, ST64B */
}

/* Load/store exclusive and compare-and-swap: size 001000 o2 L o1 Rs o0 Rt2 Rn Rt */
static enum sd_rmw exclusive(uint32_t w)
{
	if ((w & 0x3f000000) != 0x08000000)
		return SD_RMW_NONE;

	bool o2 = w & 0x800000, load = w & 0x400000, o1 = w & 0x200000;

	if (o2)
		return o1 ? SD_RMW_CMPXCHG : SD_RMW_NONE; /* CAS; LDAR and STLR are plain */
	if (o1 && !(w & 0x80000000))
		return SD_RMW_OTHER; /* CASP */
	return load ? SD_RMW_LDXR : SD_RMW_STXR;
}

static bool decode_system(struct sd_insn *insn, uint32_t w)
{
	/* SYS with CRn = 8, or 9 (nXS); op1 = 0 for EL1, 4 for EL2 */
	if ((w & 0xfffbe000) == 0xd5088000)
		set_exec(insn, OP_TLBI, w);
	else if ((w & 0xfffff0ff) == 0xd503309f || (w & 0xfffff3ff) == 0xd503323f)
		set_exec(insn, OP_DSB, w);
	else if ((w & 0xfffff0ff) == 0xd50330df)
		set_exec(insn, OP_ISB, w);
	else if ((w & 0xffffffe0) == 0xd5182000)
		set_exec(insn, OP_TTBR0, w);
	else if ((w & 0xffffffe0) == 0xd5182020)
		set_exec(insn, OP_TTBR1, w);
	else if (w == 0xd69f03e0 || (w & 0xfffffbff) == 0xd69f0bff)
		set_exec(insn, OP_ERET, w);
	else
		return false;
	return true;
}

/* Base register sp (31) in any load/store with an immediate or pair: the stack. */
static bool is_stack(uint32_t w)
{
	bool load_store = (w & 0x0a000000) == 0x08000000;

	return load_store && ((w >> 5) & 31) == 31;
}

static void decode(struct sd_insn *insn, const uint8_t *bytes, size_t len, bool kernel)
{
	uint32_t w;

	insn->kind = SD_INSN_PLAIN;
	insn->len = 4;
	if (len < 4)
		return;
	memcpy(&w, bytes, 4);
	insn->word = w;
	if (!kernel) {
		if ((w & 0xffe0001f) == 0xd280001f && ((w >> 13) & 0xff) == 0x5d) {
			insn->kind = SD_INSN_MARK;
			insn->mark = (w >> 5) & 0xff;
		}
		return;
	}
	if (decode_system(insn, w))
		return;
	if (is_stack(w)) {
		insn->kind = SD_INSN_STACK;
		return;
	}

	enum sd_rmw rmw = lse(w);

	if (!rmw)
		rmw = exclusive(w);
	if (rmw) {
		insn->kind = SD_INSN_RMW;
		insn->rmw = (uint8_t)rmw;
		insn->reg = (w >> 16) & 31; /* Rs: what CAS expects */
	}
}

/* --- execution --------------------------------------------------------- */

static uint64_t xreg(unsigned cpu, unsigned n)
{
	return n == XZR ? 0 : sd_reg(cpu, n);
}

static uint64_t sign_extend(uint64_t value, unsigned bits)
{
	return (uint64_t)((int64_t)(value << (64 - bits)) >> (64 - bits));
}

/* Arm counts levels from the root (3 is the page level), we count from the page. */
static uint8_t our_level(unsigned arm_level)
{
	return (uint8_t)(4 - arm_level);
}

static void by_va(struct sd_event *ev, uint64_t x)
{
	unsigned ttl = (x >> 44) & 15;

	ev->a = sign_extend((x & ((1ull << 44) - 1)) << 12, 56);
	ev->b = ev->a + 0x1000;
	ev->c = x >> 48;
	/* bits 3:2 name the granule, 0 is no hint; level 0 has leaves with 52-bit addresses only */
	ev->level = ttl >> 2 && (ttl & 3 || ds) ? our_level(ttl & 3) : 0;
}

static void by_range(struct sd_event *ev, uint64_t x)
{
	unsigned ttl = (x >> 37) & 3, num = (x >> 39) & 31, scale = (x >> 44) & 3;

	/* with TCR_EL1.DS the field counts units of 64 KiB whatever the granule */
	ev->a = sign_extend((x & ((1ull << 37) - 1)) << (ds ? 16 : 12), ds ? 53 : 49);
	ev->b = ev->a + ((uint64_t)(num + 1) << (5 * scale + 1)) * 0x1000;
	ev->c = x >> 48;
	ev->level = ttl ? our_level(ttl) : 0;
}

/*
 * CRm says the domain (1 outer, 3 inner shareable, 7 local; 5, 2 and 6 the same
 * for ranges), op2 says what: 0 all, 1 VA, 2 ASID, 3 VA in all ASIDs, 5 and 7
 * the last level only.
 */
static void tlbi(unsigned cpu, const struct sd_insn *insn)
{
	unsigned crm = (insn->word >> 8) & 15, op2 = (insn->word >> 5) & 7;
	bool el2 = (insn->word & 0x70000) == 0x40000;
	bool range = crm == 2 || crm == 5 || crm == 6;
	struct sd_event ev = { .kind = SD_KIND_FLUSH, .pc = insn->pc };

	ev.d = xreg(cpu, insn->reg);
	if (crm == 7 || crm == 6)
		ev.flags |= SD_FLAG_LOCAL;
	if (el2 || op2 == 0 || op2 == 4 || op2 == 6) {
		ev.id = SD_FLUSH_TLBI_ALL;
		ev.flags |= SD_FLAG_ALL_ASID;
	} else if (op2 == 2) {
		ev.id = SD_FLUSH_TLBI_ASID;
		ev.c = ev.d >> 48;
	} else {
		bool all = op2 == 3 || op2 == 7;

		if (range)
			by_range(&ev, ev.d);
		else
			by_va(&ev, ev.d);
		if (range)
			ev.id = all ? SD_FLUSH_TLBI_RANGE_ALL_ASID : SD_FLUSH_TLBI_RANGE;
		else
			ev.id = all ? SD_FLUSH_TLBI_VA_ALL_ASID : SD_FLUSH_TLBI_VA;
		ev.flags |= (op2 >= 5 ? SD_FLAG_LEAF : 0) | (all ? SD_FLAG_ALL_ASID : 0);
	}
	sd_emit(cpu, &ev);
	sd_epoch_bump();
}

/* D24.2 (TTBR0_EL1): BADDR, whose bits 5:2 are the address's 51:48 with 52 bits. */
static uint64_t root_pa(uint64_t value)
{
	uint64_t high = ds ? (value & 0x3c) << 46 : 0;

	return high | (value & ((1ull << 48) - 1) & -root_bytes);
}

static void root_load(unsigned cpu, uint64_t pc, uint16_t reg, uint64_t value, uint64_t old)
{
	uint64_t pa = root_pa(value);

	/*
	 * The kernel's lasting roots are part of its image. KPTI's set-up runs on another
	 * one for a while, and frees it with no further word.
	 */
	if (reg == SD_ROOT_TTBR0)
		sd_root_learn(cpu, pc, pa, false);
	else if (pa - sd_off_to_pa(sd_mem.image_off) < sd_mem.image_size)
		sd_root_learn(cpu, pc, pa, true);
	sd_emit(cpu, &(struct sd_event){ .kind = SD_KIND_ROOT_LOAD,
					 .id = reg,
					 .pc = pc,
					 .a = value,
					 .b = pa,
					 .c = value >> 48,
					 .d = old });
	sd_epoch_bump();
	if (reg == SD_ROOT_TTBR0 && pa != root_pa(old))
		sd_delay_root(cpu);
}

/* DSB nXS has only the domain in CRm; it is for loads and stores. */
static uint64_t barrier_crm(uint32_t word)
{
	uint64_t crm = (word >> 8) & 15;

	return (word & 0xe0) == 0x20 ? crm | 3 : crm;
}

static void barrier(unsigned cpu, const struct sd_insn *insn, enum sd_barrier op)
{
	sd_emit(cpu, &(struct sd_event){ .kind = SD_KIND_BARRIER,
					 .id = op,
					 .pc = insn->pc,
					 .a = barrier_crm(insn->word) });
}

static void eret(unsigned cpu, const struct sd_insn *insn)
{
	if (sd_reg(cpu, SPSR) & 15) /* M[3:0] = 0 is EL0 */
		return;
	__atomic_store_n(&sd_user_seen, true, __ATOMIC_RELAXED);
	sd_emit(cpu, &(struct sd_event){ .kind = SD_KIND_RET_USER,
					 .pc = insn->pc,
					 .a = sd_reg(cpu, X0),
					 .b = sd_reg(cpu, ELR) });
	sd_epoch_bump();
}

static void exec(unsigned cpu, const struct sd_insn *insn)
{
	switch (insn->op) {
	case OP_TLBI:
		tlbi(cpu, insn);
		return;
	case OP_DSB:
		barrier(cpu, insn, SD_BARRIER_DSB);
		return;
	case OP_ISB:
		barrier(cpu, insn, SD_BARRIER_ISB);
		return;
	case OP_TTBR0:
		root_load(cpu, insn->pc, SD_ROOT_TTBR0, xreg(cpu, insn->reg), sd_reg(cpu, TTBR0));
		return;
	case OP_TTBR1:
		root_load(cpu, insn->pc, SD_ROOT_TTBR1, xreg(cpu, insn->reg), sd_reg(cpu, TTBR1));
		return;
	case OP_ERET:
		eret(cpu, insn);
		return;
	}
}

/* Levels of a walk with 4 KiB pages for a TCR_ELx.TnSZ. */
static unsigned levels(uint64_t tnsz)
{
	return (unsigned)((64 - tnsz - SD_PAGE_SHIFT + 8) / 9);
}

static bool loads_root(const struct sd_insn *insn)
{
	return insn->op == OP_TTBR0;
}

static void arm(unsigned cpu, unsigned *kernel_levels, unsigned *user_levels)
{
	uint64_t tcr = sd_reg(cpu, TCR);
	unsigned slots;

	*user_levels = levels(tcr & 63);
	*kernel_levels = levels((tcr >> 16) & 63);
	kernel_va_bits = 64 - ((tcr >> 16) & 63);
	ds = tcr & TCR_DS;
	/* What the levels below leave of the address: 512 slots, or 16 of 52 bits. */
	slots = 1u << (kernel_va_bits - SD_PAGE_SHIFT - 9 * (*kernel_levels - 1));
	root_bytes = 8 * slots;
	sd_tables_set_roots(*kernel_levels, *user_levels, slots);
}

static void loaded(unsigned cpu, unsigned reg, uint64_t value)
{
	root_load(cpu, 0, reg == TTBR0 ? SD_ROOT_TTBR0 : SD_ROOT_TTBR1, value, 0);
}

/* --- page tables ------------------------------------------------------- */

static bool is_table(uint64_t entry, unsigned level)
{
	return level > 1 && (entry & 3) == 3;
}

static bool is_leaf(uint64_t entry, unsigned level)
{
	return (entry & 3) == (level > 1 ? 1 : 3);
}

/* AP[1] user, and not AP[2] read-only, unless DBM lets the walker clear that. */
static bool is_writable(uint64_t entry)
{
	return (entry & 1ull << 6) && (!(entry & 1ull << 7) || (entry & 1ull << 51));
}

/* D8.3: with 52 bits the address's 49:48 follow the others, and 51:50 are at 9:8. */
static uint64_t child(uint64_t entry)
{
	if (!ds)
		return entry & ADDR_MASK;
	return (entry & (ADDR_MASK | 3ull << 48)) | (entry & 3ull << 8) << 42;
}

static uint64_t root_va(bool kernel, unsigned levels)
{
	(void)levels;
	return kernel ? -(1ull << kernel_va_bits) : 0;
}

/* AF, and AP[2] (read-only) where DBM lets the walker clear it. */
static uint64_t hardware_bits(uint64_t entry, unsigned level)
{
	if (!(entry & 1) || is_table(entry, level))
		return 0;
	return 1ull << 10 | ((entry & 1ull << 51) ? 1ull << 7 : 0);
}

const struct sd_arch sd_arch_arm64 = {
	.name = "arm64",
	.target = "aarch64",
	.regs = regs,
	.args = { 0, 1, 2, 3 },
	.roots = { TTBR1, TTBR0 },
	.percpu = { TPIDR, TPIDR },
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
	.hardware_bits = hardware_bits,
	/* arch/arm64/kernel/cpufeature.c: KPTI_NG_TEMP_VA, the last 2 MiB */
	.scratch_va = -(1ull << 21),
	.scratch_size = 1ull << 21,
	/* arch/arm64/kernel/pi: 2 MiB, and what the place in RAM adds, segments of 64 KiB */
	.slide_align = 1ull << 16,
};
