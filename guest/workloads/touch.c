// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Race: one thread changes a VMA while another one faults its first page in.
 *
 * The fault finds the VMA without the mmap lock. Meanwhile the VMA is unmapped, replaced, made
 * read-only, moved, or split and merged by mlock, mbind or mprotect of its neighbours. The
 * operation finds no page there, so it has nothing to flush and need not wait for the CPU of the
 * thread that faults. Whatever comes first: a page that was stored to stays, and an address that
 * is mapped before, meanwhile and afterwards is never refused.
 */
#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "access.h"
#include "area.h"
#include "marks.h"
#include "partner.h"
#include "rng.h"
#include "scratch.h"
#include "workload.h"

/* The window: a page that exists, so that the VMA has its anon_vma; the range; a rest. */
enum { WINDOW = 32, FIRST = 16, COUNT = 4, JITTER = 256 };
enum memory { PRIVATE, SHARED_FILE, DISK, UNWRITTEN, MEMORIES };

struct stage {
	char *window, *elsewhere;
	struct partner toucher;
	uint64_t memory, patience;
	int file;
	bool refused; /* by the last access */
	uint64_t value;
};

static char *range(const struct stage *stage)
{
	return stage->window + FIRST * PAGE_BYTES;
}

static void must(long result, const char *what)
{
	if (result == -1)
		die("%s", what);
}

static void protect(char *at, int access)
{
	must(mprotect(at, COUNT * PAGE_BYTES, access), "mprotect");
}

static void op_munmap(const struct stage *stage)
{
	must(munmap(range(stage), COUNT * PAGE_BYTES), "munmap");
}

static void op_map_fixed(const struct stage *stage)
{
	area_map(range(stage), COUNT * PAGE_BYTES);
}

static void op_mprotect(const struct stage *stage)
{
	protect(range(stage), PROT_READ);
}

static void op_mremap(const struct stage *stage)
{
	must((long)mremap(range(stage), COUNT * PAGE_BYTES, COUNT * PAGE_BYTES,
			  MREMAP_MAYMOVE | MREMAP_FIXED, stage->elsewhere),
	     "mremap");
}

/* Split and merge: the VMA of the range becomes three, and one again. */

static void op_mlock(const struct stage *stage)
{
	must(mlock2(range(stage), COUNT * PAGE_BYTES, MLOCK_ONFAULT), "mlock2");
	must(munlock(range(stage), COUNT * PAGE_BYTES), "munlock");
}

static void op_mbind(const struct stage *stage)
{
	unsigned long nodes = 1;

	/* Kernels without NUMA have no policies, and nothing to split for. */
	must(syscall(SYS_mbind, range(stage), COUNT * PAGE_BYTES, MPOL_BIND, &nodes, 8, 0),
	     "mbind");
	must(syscall(SYS_mbind, range(stage), COUNT * PAGE_BYTES, MPOL_DEFAULT, NULL, 0, 0),
	     "mbind");
}

static void op_neighbour(const struct stage *stage)
{
	protect(range(stage) + COUNT * PAGE_BYTES, PROT_READ);
	protect(range(stage) + COUNT * PAGE_BYTES, PROT_READ | PROT_WRITE);
}

static void op_fork_flag(const struct stage *stage)
{
	must(madvise(range(stage), COUNT * PAGE_BYTES, MADV_DONTFORK), "MADV_DONTFORK");
	must(madvise(range(stage), COUNT * PAGE_BYTES, MADV_DOFORK), "MADV_DOFORK");
}

static const struct op {
	const char *name;
	void (*act)(const struct stage *stage);
	bool may_refuse, keeps; /* the access may be refused; what was stored stays */
} ops[] = {
	{ "munmap", op_munmap, true, false },	    { "map_fixed", op_map_fixed, false, false },
	{ "mprotect", op_mprotect, true, false },   { "mremap", op_mremap, true, false },
	{ "mlock", op_mlock, false, true },	    { "mbind", op_mbind, false, true },
	{ "neighbour", op_neighbour, false, true }, { "fork_flag", op_fork_flag, false, true },
};
enum { OPS = sizeof(ops) / sizeof(ops[0]) };

static void touch_once(void *argument, uint64_t iteration)
{
	struct stage *stage = argument;

	if (stage->memory == PRIVATE)
		stage->refused = !access_store(range(stage), iteration);
	else
		stage->refused = !access_load(range(stage), &stage->value);
}

/* A new VMA, or three in one: nothing of it is mapped but its first page. */
static void prepare(const struct stage *stage, uint64_t iteration)
{
	size_t bytes = WINDOW * PAGE_BYTES;

	munmap(stage->elsewhere, COUNT * PAGE_BYTES);
	if (stage->memory == PRIVATE || stage->memory == UNWRITTEN) {
		area_map(stage->window, bytes);
		*(volatile char *)stage->window = 1;
		return;
	}
	if (stage->memory == DISK)
		scratch_forget(stage->file);
	if (mmap(stage->window, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, stage->file,
		 stage->memory == DISK ? (off_t)(iteration % 8 * bytes) : 0) != stage->window)
		die("mmap of a file");
	if (stage->memory == DISK)
		must(madvise(stage->window, bytes, MADV_RANDOM), "MADV_RANDOM");
}

static void step(struct stage *stage, const struct op *op, struct rng *rng, uint64_t iteration)
{
	uint64_t wait = stage->patience ? stage->patience : rng_below(rng, JITTER);

	prepare(stage, iteration);
	partner_ask(&stage->toucher, iteration);
	partner_leave(&stage->toucher, wait);
	op->act(stage);
	partner_wait(&stage->toucher);
}

static bool lost(const struct stage *stage, const struct op *op, uint64_t iteration)
{
	return op->keeps && stage->memory == PRIVATE && !stage->refused &&
	       *(volatile uint64_t *)range(stage) != iteration;
}

static void open_memory(struct stage *stage)
{
	char *alias;

	if (stage->memory == SHARED_FILE) {
		stage->file = area_memfd(WINDOW * PAGE_BYTES, &alias);
		area_touch(alias, WINDOW * PAGE_BYTES);
	} else if (stage->memory == DISK) {
		stage->file = scratch_open(0);
	}
}

static int run(const struct job *job)
{
	struct stage *stage = area_shared(sizeof(*stage));
	const struct op *op = &ops[job_option(job, "op") % OPS];
	struct rng rng = { job->seed };
	uint64_t refused = 0, spurious = 0, gone = 0;

	area_small_pages();
	access_init();
	thread_become("mapper", 0);
	stage->window = area_window(area_create(1));
	stage->elsewhere = area_window(area_create(1));
	stage->memory = job_option(job, "memory");
	stage->patience = job_option(job, "patience");
	open_memory(stage);
	mark_range(0, range(stage), COUNT * PAGE_BYTES);
	partner_start(&stage->toucher, "toucher", 0, touch_once, stage);
	for (uint64_t iteration = 1; iteration <= job->iterations; iteration++) {
		mark_iter(iteration);
		step(stage, op, &rng, iteration);
		refused += stage->refused;
		spurious += stage->refused && !op->may_refuse;
		gone += lost(stage, op, iteration);
	}
	partner_stop(&stage->toucher);
	mark_unrange(0);
	report(refused, "refused");
	report(spurious, "spurious");
	report(gone, "lost");
	return spurious || gone ? STATUS_IMPOSSIBLE : STATUS_OK;
}

const struct workload touch = {
	.name = "touch",
	.headline = "a VMA is unmapped, replaced, split or merged while its first page is faulted in",
	.run = run,
	.options = {
		{ "op", 0, 0, OPS - 1 },
		{ "memory", PRIVATE, 0, MEMORIES - 1 },
		{ "patience", 0, 0, 1000000000 },
	},
};
