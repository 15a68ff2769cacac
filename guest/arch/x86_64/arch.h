/* SPDX-License-Identifier: GPL-2.0-or-later */
/* x86-64: what the guest programs must know about their architecture. */
#ifndef ARCH_H
#define ARCH_H

#include <stdint.h>
#include <ucontext.h>

#define ARCH_NAME	"x86_64"
#define ARCH_AGENT_TTY	"ttyS1"
/* Whether the kernel's flush code calls the tracepoint tlb:tlb_flush. */
#define ARCH_TRACES_TLB 1

/* `nopl 0x53440000|op (%rax,%rax,1)`: computes an address, touches nothing. */
#define arch_mark(op, w, x, y, z)                                             \
	asm volatile(".byte 0x0f, 0x1f, 0x84, 0x00\n\t.long 0x53440000 | %c0" \
		     :                                                        \
		     : "i"(op), "D"(w), "S"(x), "d"(y), "c"(z)                \
		     : "memory")

/* Waiting: under thread=single this also hands the emulator to the next vCPU. */
static inline void cpu_relax(void)
{
	asm volatile("pause" : : : "memory");
}

static inline uintptr_t context_pc(const ucontext_t *context)
{
	return context->uc_mcontext.gregs[REG_RIP];
}

static inline void context_set_pc(ucontext_t *context, uintptr_t pc)
{
	context->uc_mcontext.gregs[REG_RIP] = pc;
}

#endif
