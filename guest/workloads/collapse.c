// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Race: small pages are collapsed into a huge one while another thread writes to them, and a third
 * one faults a page in that is missing.
 *
 * The entry of the table is cleared and flushed, and whoever walks tables without locks is waited
 * for, before the small pages are copied: a store through what a TLB has kept must be in the copy.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "access.h"
#include "area.h"
#include "marks.h"
#include "partner.h"
#include "workload.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

/* Page numbers in the block. */
enum { THERE = 64, WRITTEN = 20, WRITTEN_PAGES = 4, MISSING = 300, STORES = 4096 };

struct stage {
	char *block;
	struct partner toucher;
	struct thread writer;
	_Atomic bool stop;
	_Atomic uint64_t epoch; /* odd while the block is made anew */
	uint64_t lost, stores, collapsed;
};

static void touch_missing(void *argument, uint64_t iteration)
{
	struct stage *stage = argument;

	if (!access_store(stage->block + MISSING * PAGE_BYTES, iteration))
		die("a page of the block cannot be written");
}

/* Stores many times before it looks: each change of direction is a record of the trace. */
static void write_page(struct stage *stage, volatile uint64_t *word, uint64_t value)
{
	uint64_t epoch = atomic_load(&stage->epoch);

	for (int i = 0; i < STORES; i++, stage->stores++)
		*word = value;
	if (*word != value && !(epoch & 1) && atomic_load(&stage->epoch) == epoch)
		stage->lost++;
}

static void writer_main(void *argument)
{
	struct stage *stage = argument;

	for (uint64_t count = 1; !atomic_load(&stage->stop); count++)
		write_page(stage,
			   (volatile uint64_t *)(stage->block +
						 (WRITTEN + count % WRITTEN_PAGES) * PAGE_BYTES),
			   count);
}

/* The block anew, a few small pages of it: who collapses it fills in the rest. */
static void prepare(struct stage *stage)
{
	atomic_fetch_add(&stage->epoch, 1);
	area_map(stage->block, BLOCK_BYTES);
	madvise(stage->block, BLOCK_BYTES, MADV_NOHUGEPAGE);
	area_touch(stage->block, THERE * PAGE_BYTES);
	madvise(stage->block, BLOCK_BYTES, MADV_HUGEPAGE);
	atomic_fetch_add(&stage->epoch, 1);
}

/* Kernels with little memory start with huge pages off. */
static void allow_huge(void)
{
	int file = open("/sys/kernel/mm/transparent_hugepage/enabled", O_WRONLY | O_CLOEXEC);

	if (file < 0 || write(file, "madvise", 7) != 7)
		skip("huge pages cannot be switched on");
	close(file);
}

static int run(const struct job *job)
{
	struct stage *stage = area_shared(sizeof(*stage));

	allow_huge();
	access_init();
	thread_become("mapper", 0);
	stage->block = area_reserve(1);
	prepare(stage);
	mark_range(0, stage->block + WRITTEN * PAGE_BYTES, WRITTEN_PAGES * PAGE_BYTES);
	thread_start(&stage->writer, "writer", thread_observer_cpu(1), writer_main, stage);
	partner_start(&stage->toucher, "toucher", 0, touch_missing, stage);
	for (uint64_t iteration = 1; iteration <= job->iterations; iteration++) {
		mark_iter(iteration);
		prepare(stage);
		partner_ask(&stage->toucher, iteration);
		partner_leave(&stage->toucher, job_option(job, "patience"));
		/* Refused where somebody holds a page meanwhile, and no memory is no race. */
		stage->collapsed += !madvise(stage->block, BLOCK_BYTES, MADV_COLLAPSE);
		partner_wait(&stage->toucher);
		stage->lost +=
			*(volatile uint64_t *)(stage->block + MISSING * PAGE_BYTES) != iteration;
	}
	partner_stop(&stage->toucher);
	atomic_store(&stage->stop, true);
	thread_join(&stage->writer);
	mark_unrange(0);
	report(stage->stores, "stores");
	report(stage->collapsed, "collapsed");
	report(stage->lost, "lost");
	return stage->lost ? STATUS_IMPOSSIBLE : STATUS_OK;
}

const struct workload collapse = {
	.name = "collapse",
	.headline = "MADV_COLLAPSE makes a huge page of small ones that others write and fault in",
	.run = run,
	.options = { { "patience", 0, 0, 1000000000 } },
};
