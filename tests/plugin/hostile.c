// SPDX-License-Identifier: GPL-2.0-or-later
// A guest program that lies to the plugin: marks of every operation with senseless arguments,
// ranges that cover everything, from several threads, and instructions it may not execute.
#define _GNU_SOURCE
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { STORM = 2000, THREADS = 3 };

#ifdef __x86_64__
#define MARK(op)                                                                                   \
	__asm__ volatile("nopl 0x53440000|" #op "(%%rax,%%rax,1)" ::"D"(a), "S"(b), "d"(c), "c"(d) \
			 : "memory")
#define FORBIDDEN(N) \
	N("mov %rax, %cr3") N("mov %rax, %cr4") N("invlpg (%rax)") N("iretq") N("sysretq")
#else
#define MARK(op)                                                                           \
	do {                                                                               \
		register uint64_t x0 __asm__("x0") = a, x1 __asm__("x1") = b,              \
				     x2 __asm__("x2") = c, x3 __asm__("x3") = d;           \
		__asm__ volatile(".inst 0xd280001f | ((0x5d00 | " #op ") << 5)" ::"r"(x0), \
				 "r"(x1), "r"(x2), "r"(x3)                                 \
				 : "memory");                                              \
	} while (0)
#define FORBIDDEN(N) N("tlbi vmalle1is") N("msr ttbr0_el1, x0") N("msr ttbr1_el1, x0") N("eret")
#endif

static __thread sigjmp_buf back;
static uint64_t page[512];

static void caught(int signal)
{
	siglongjmp(back, signal);
}

static void forbidden(void)
{
#define TRY(insn)                       \
	if (!sigsetjmp(back, 1)) {      \
		__asm__ volatile(insn); \
		abort();                \
	}
	FORBIDDEN(TRY)
}

static uint64_t any(uint64_t *seed)
{
	static const uint64_t edges[] = { 0, 1, 7, 8, ~0ull, 1ull << 63, 0x1000, 1ull << 32 };

	*seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
	return *seed >> 60 ? *seed >> 33 : edges[*seed >> 40 & 7];
}

static void mark(unsigned op, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	switch (op) {
	case 0:
		MARK(0);
		break;
	case 1:
		MARK(1);
		break;
	case 2:
		MARK(2);
		break;
	case 3:
		MARK(3);
		break;
	case 4:
		MARK(4);
		break;
	case 5:
		MARK(5);
		break;
	case 6:
		MARK(6);
		break;
	case 7:
		MARK(7);
		break;
	default:
		MARK(0xff);
	}
}

static void *storm(void *arg)
{
	uint64_t seed = (uintptr_t)arg;

	for (int i = 0; i < STORM; i++) {
		mark((unsigned)(any(&seed) % 9), any(&seed), any(&seed), any(&seed), any(&seed));
		__atomic_fetch_add(&page[i % 512], 1, __ATOMIC_SEQ_CST);
	}
	return NULL;
}

int main(void)
{
	static const int signals[] = { SIGSEGV, SIGILL, SIGBUS, SIGTRAP };
	pthread_t threads[THREADS];

	for (unsigned i = 0; i < sizeof(signals) / sizeof(*signals); i++)
		signal(signals[i], caught);
	for (uintptr_t i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, storm, (void *)(i + 1)))
			return 1;
	forbidden();
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (unsigned nr = 0; nr < 8; nr++)
		mark(5, nr, 0, 0, 0);
	return 0;
}
