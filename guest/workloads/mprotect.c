// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Race: one thread makes pages read-only and writable again while others write to them.
 *
 * From the return of mprotect(PROT_READ) on, every store must fault. A store that a CPU makes
 * through a stale writable translation succeeds silently; the writer notices because the state
 * was "read-only" before and after it, the mapper because a word changed meanwhile.
 */
#include <sys/mman.h>

#include "access.h"
#include "crew.h"
#include "marks.h"

struct stage {
	struct crew crew;
	char *base;
	unsigned int pages;
	_Atomic uint64_t state; /* odd while the pages are read-only for certain; only grows */
	uint64_t changed;
};

static void write_pages(struct observer *observer)
{
	struct stage *stage = observer->crew->stage;

	for (unsigned int index = 0; index < stage->pages; index++) {
		unsigned int page = crew_turn(observer, index, stage->pages);
		uint64_t before = atomic_load(&stage->state);

		if (!access_store(stage->base + page * PAGE_BYTES,
				  crew_value(observer->stores + 1))) {
			observer->faults++;
			return;
		}
		observer->stores++;
		/* The store comes before the second look at the state. */
		atomic_thread_fence(memory_order_seq_cst);
		if ((before & 1) && atomic_load(&stage->state) == before)
			observer->stale++;
	}
}

static uint64_t sum(const struct stage *stage)
{
	uint64_t total = 0;

	for (unsigned int page = 0; page < stage->pages; page++)
		total += (page + 1) * *(volatile uint64_t *)(stage->base + page * PAGE_BYTES);
	return total;
}

static void protect(const struct stage *stage, int access)
{
	if (mprotect(stage->base, stage->pages * PAGE_BYTES, access))
		die("mprotect");
}

static void flip(struct crew *crew, uint64_t iteration)
{
	struct stage *stage = crew->stage;
	uint64_t before;

	(void)iteration;
	crew->exercised += crew_wait(crew);
	protect(stage, PROT_READ);
	atomic_fetch_add(&stage->state, 1);
	before = sum(stage);
	crew_wait(crew);
	stage->changed += sum(stage) != before;
	atomic_fetch_add(&stage->state, 1);
	protect(stage, PROT_READ | PROT_WRITE);
}

static int run(const struct job *job)
{
	struct stage *stage = area_shared(sizeof(*stage));
	int status;

	crew_init(&stage->crew, job, stage, flip, write_pages);
	stage->pages = job_option(job, "pages");
	stage->base = area_window(area_create(1));
	mark_range(0, stage->base, stage->pages * PAGE_BYTES);
	status = crew_run(&stage->crew, job);
	mark_unrange(0);
	report(stage->changed, "changed_while_readonly");
	return status;
}

const struct workload mprotect_flip = {
	.name = "mprotect",
	.headline = "mprotect takes write access from threads that write",
	.run = run,
	.options = { CREW_OPTIONS },
};
