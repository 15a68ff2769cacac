// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Race: one thread replaces pages by mmap(MAP_FIXED) while others read them.
 *
 * Between the first cleared entry and the end of the flush, an observer on another CPU may still
 * use the old translation; from the return of mmap on, nobody may. The pages lie inside a
 * populated block, so page tables survive and only leaf entries change. One replacement in four
 * maps a shared memory file whose pages hold data already, so that old and new translation differ
 * in what they show without any store; the other ones map new anonymous memory.
 */
#include <sys/mman.h>

#include "crew.h"

struct stage {
	struct crew crew;
	struct view view;
	char *alias; /* two windows' worth of file pages, used in turn */
	int file;
};

static void map_over(char *at, size_t bytes, int flags, int file, off_t offset)
{
	if (mmap(at, bytes, PROT_READ | PROT_WRITE, flags | MAP_FIXED, file, offset) != at)
		die("mmap(MAP_FIXED)");
}

static void replace(struct crew *crew, uint64_t iteration)
{
	struct stage *stage = crew->stage;
	struct view *view = &stage->view;
	unsigned int first = rng_below(&crew->rng, view->pages);
	unsigned int count = 1 + rng_below(&crew->rng, view->pages - first);
	bool shared = rng_one_in(&crew->rng, 4);
	size_t half = (iteration & 1) * view->pages * PAGE_BYTES;
	uint64_t old = 2 * iteration, new = old + 1;

	view_fill(view, view->base, first, count, old);
	if (shared)
		view_fill(view, stage->alias + half, first, count, new);
	crew->exercised += crew_wait(crew);
	if (shared)
		map_over(view_at(view, first), count * PAGE_BYTES, MAP_SHARED, stage->file,
			 half + first * PAGE_BYTES);
	else
		map_over(view_at(view, first), count * PAGE_BYTES, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			 0);
	view_raise(view, first, count, new);
	crew_jitter(crew);
	if (!shared)
		view_fill(view, view->base, first, count, new);
}

static int run(const struct job *job)
{
	struct stage *stage = area_shared(sizeof(*stage));
	unsigned int pages = job_option(job, "pages");

	crew_init(&stage->crew, job, stage, replace, crew_observe);
	stage->file = area_memfd(2 * pages * PAGE_BYTES, &stage->alias);
	crew_add_view(&stage->crew, &stage->view, 0, area_window(area_create(1)), pages);
	return crew_run(&stage->crew, job);
}

const struct workload map_fixed = {
	.name = "map_fixed",
	.headline = "mmap(MAP_FIXED) replaces pages that other threads read",
	.run = run,
	.options = { CREW_OPTIONS },
};
