/* SPDX-License-Identifier: GPL-2.0-or-later */
/* arm64: what the guest programs must know about their architecture. */
#ifndef ARCH_H
#define ARCH_H

#include <stdint.h>
#include <ucontext.h>

#define ARCH_NAME	"arm64"
#define ARCH_AGENT_TTY	"ttyAMA1"
/* Whether the kernel's flush code calls the tracepoint tlb:tlb_flush. */
#define ARCH_TRACES_TLB 0

/* `movz xzr, #(0x5d00 | op)`: the result goes to the zero register. */
#define arch_mark(op, w, x, y, z)                                                              \
	do {                                                                                   \
		register uint64_t mark_x0 asm("x0") = (w);                                     \
		register uint64_t mark_x1 asm("x1") = (x);                                     \
		register uint64_t mark_x2 asm("x2") = (y);                                     \
		register uint64_t mark_x3 asm("x3") = (z);                                     \
		asm volatile(".inst 0xd280001f | ((0x5d00 | %c0) << 5)"                        \
			     :                                                                 \
			     : "i"(op), "r"(mark_x0), "r"(mark_x1), "r"(mark_x2), "r"(mark_x3) \
			     : "memory");                                                      \
	} while (0)

/* Waiting: under thread=single this also hands the emulator to the next vCPU. */
static inline void cpu_relax(void)
{
	asm volatile("yield" : : : "memory");
}

static inline uintptr_t context_pc(const ucontext_t *context)
{
	return context->uc_mcontext.pc;
}

static inline void context_set_pc(ucontext_t *context, uintptr_t pc)
{
	context->uc_mcontext.pc = pc;
}

#endif
