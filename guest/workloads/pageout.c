// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Race: reclaim takes pages away that one thread writes and another one protects or unmaps.
 *
 * Reclaim clears entries and flushes them in batches, later. Until then the writer's CPU may
 * store through the old entry: a page must not go to the disk, nor be freed, before the flush, and
 * who changes the protection of a cleared entry must flush for reclaim. Needs swap.
 */
#include <stdio.h>
#include <sys/mman.h>

#include "access.h"
#include "area.h"
#include "marks.h"
#include "partner.h"
#include "workload.h"

enum { PAGES = 8, STORES = 4096 };
enum op { MPROTECT, MUNMAP, OPS };

struct stage {
	char *window;
	struct partner reclaimer;
	struct thread writer;
	_Atomic uint64_t epoch; /* odd while pages may be as new */
	_Atomic bool stop;
	uint64_t lost, stores, refused;
};

static void page_out(void *argument, uint64_t iteration)
{
	struct stage *stage = argument;

	/* What other CPUs have faulted in they keep in batches, where it cannot be isolated. */
	for (unsigned int page = 0; page < PAGES; page++)
		access_store(stage->window + page * PAGE_BYTES + sizeof(uint64_t), iteration);
	if (madvise(stage->window, PAGES * PAGE_BYTES, MADV_PAGEOUT))
		die("madvise(MADV_PAGEOUT)");
}

/*
 * Stores many times before it looks: each change of direction is a record of the trace. Nobody
 * else writes, so what was stored must be there, unless the page was refused or unmapped.
 */
static void write_page(struct stage *stage, char *page, uint64_t value)
{
	uint64_t epoch = atomic_load(&stage->epoch), found;

	for (int i = 0; i < STORES; i++) {
		if (!access_store(page, value)) {
			stage->refused++;
			return;
		}
		stage->stores++;
	}
	if (access_load(page, &found) && found != value && !(epoch & 1) &&
	    atomic_load(&stage->epoch) == epoch)
		stage->lost++;
}

static void writer_main(void *argument)
{
	struct stage *stage = argument;

	for (uint64_t count = 1; !atomic_load(&stage->stop); count++)
		write_page(stage, stage->window + count % PAGES * PAGE_BYTES, count);
}

static void protect(const struct stage *stage)
{
	if (mprotect(stage->window, PAGES * PAGE_BYTES, PROT_READ) ||
	    mprotect(stage->window, PAGES * PAGE_BYTES, PROT_READ | PROT_WRITE))
		die("mprotect");
}

static void unmap(struct stage *stage)
{
	atomic_fetch_add(&stage->epoch, 1);
	if (munmap(stage->window, PAGES * PAGE_BYTES))
		die("munmap");
	area_map(stage->window, PAGES * PAGE_BYTES);
	atomic_fetch_add(&stage->epoch, 1);
}

static bool has_swap(void)
{
	FILE *file = fopen("/proc/swaps", "re");
	int lines = 0;

	for (int c; file && (c = fgetc(file)) != EOF;)
		lines += c == '\n';
	if (file)
		fclose(file);
	return lines > 1;
}

static int run(const struct job *job)
{
	struct stage *stage = area_shared(sizeof(*stage));
	enum op op = (enum op)job_option(job, "op");

	if (!has_swap())
		skip("there is no swap; run with --swap");
	area_small_pages();
	access_init();
	thread_become("mapper", 0);
	stage->window = area_window(area_create(1));
	area_touch(stage->window, PAGES * PAGE_BYTES);
	area_create(2); /* more pages than a batch: so those of the window are out of it */
	mark_range(0, stage->window, PAGES * PAGE_BYTES);
	thread_start(&stage->writer, "writer", thread_observer_cpu(1), writer_main, stage);
	partner_start(&stage->reclaimer, "reclaimer", 0, page_out, stage);
	for (uint64_t iteration = 1; iteration <= job->iterations; iteration++) {
		mark_iter(iteration);
		area_touch(stage->window + 64,
			   1); /* something to page out, whatever the writer does */
		partner_ask(&stage->reclaimer, iteration);
		partner_leave(&stage->reclaimer, job_option(job, "patience"));
		if (op == MUNMAP)
			unmap(stage);
		else
			protect(stage);
		partner_wait(&stage->reclaimer);
	}
	partner_stop(&stage->reclaimer);
	atomic_store(&stage->stop, true);
	thread_join(&stage->writer);
	mark_unrange(0);
	report(stage->stores, "stores");
	report(stage->refused, "refused");
	report(stage->lost, "lost");
	return stage->lost ? STATUS_IMPOSSIBLE : STATUS_OK;
}

const struct workload pageout = {
	.name = "pageout",
	.headline = "MADV_PAGEOUT takes pages away that others write, protect and unmap",
	.run = run,
	.options = {
		{ "op", MPROTECT, 0, OPS - 1 },
		{ "patience", 0, 0, 1000000000 },
	},
};
