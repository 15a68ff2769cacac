// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Race: one thread unmaps pages and maps them again while others read them.
 *
 * The kernel downgrades the mmap lock before it clears entries and flushes, so an observer can
 * fault while the old translation is still alive elsewhere. One time in eight the whole 2 MiB
 * block goes, and its page table with it: then the walk caches must be flushed as well.
 */
#include <sys/mman.h>

#include "crew.h"

struct stage {
	struct crew crew;
	struct view view;
	char *block;
};

/* Map [at, at + bytes) again; somebody else in there would be a bug of this program. */
static void map_hole(char *at, size_t bytes)
{
	if (mmap(at, bytes, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != at)
		die("mmap(MAP_FIXED_NOREPLACE)");
}

static void unmap_and_map(struct crew *crew, uint64_t iteration)
{
	struct stage *stage = crew->stage;
	struct view *view = &stage->view;
	bool whole = rng_one_in(&crew->rng, 8);
	unsigned int first = whole ? 0 : rng_below(&crew->rng, view->pages);
	unsigned int count = whole ? view->pages : 1 + rng_below(&crew->rng, view->pages - first);
	char *at = whole ? stage->block : view_at(view, first);
	size_t bytes = whole ? BLOCK_BYTES : count * PAGE_BYTES;
	uint64_t old = 2 * iteration, new = old + 1;

	view_fill(view, view->base, first, count, old);
	crew->exercised += crew_wait(crew);
	if (munmap(at, bytes))
		die("munmap");
	view_raise(view, first, count, new);
	crew_jitter(crew);
	map_hole(at, bytes);
	view_fill(view, view->base, first, count, new);
}

static int run(const struct job *job)
{
	struct stage *stage = area_shared(sizeof(*stage));

	crew_init(&stage->crew, job, stage, unmap_and_map, crew_observe);
	stage->block = area_create(1);
	crew_add_view(&stage->crew, &stage->view, 0, area_window(stage->block),
		      job_option(job, "pages"));
	return crew_run(&stage->crew, job);
}

const struct workload munmap_remap = {
	.name = "munmap",
	.headline = "munmap takes pages, and page tables, away from threads that read them",
	.run = run,
	.options = { CREW_OPTIONS },
};
