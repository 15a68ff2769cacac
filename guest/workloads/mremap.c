// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Race: one thread moves pages between two places while others read both.
 *
 * mremap moves leaf entries under the two page-table locks and must flush before it drops them.
 * One time in four a whole 2 MiB block moves, and with it the table itself: one entry of the
 * level above is moved, and what other CPUs cached of the walk must go too.
 */
#include <sys/mman.h>

#include "crew.h"

/* Two places that pages move between. */
struct pair {
	struct view views[2];
	char *starts[2]; /* of what moves */
	size_t bytes;
	int here; /* index of the place that is mapped */
};

struct stage {
	struct crew crew;
	struct pair window, block;
};

static void move(struct crew *crew, uint64_t iteration)
{
	struct stage *stage = crew->stage;
	struct pair *pair = rng_one_in(&crew->rng, 4) ? &stage->block : &stage->window;
	int here = pair->here, there = !here;
	struct view *source = &pair->views[here], *target = &pair->views[there];
	uint64_t old = 2 * iteration, new = old + 1;

	view_expect(target, old);
	view_fill(source, source->base, 0, source->pages, old);
	crew->exercised += crew_wait(crew);
	if (mremap(pair->starts[here], pair->bytes, pair->bytes, MREMAP_MAYMOVE | MREMAP_FIXED,
		   pair->starts[there]) != pair->starts[there])
		die("mremap");
	/* The pages come back one day, rewritten: whatever is seen there until then is stale. */
	view_raise(source, 0, source->pages, new + 1);
	view_raise(target, 0, target->pages, old);
	crew_jitter(crew);
	view_expect(source, new);
	view_fill(target, target->base, 0, target->pages, new);
	pair->here = there;
}

static int run(const struct job *job)
{
	struct stage *stage = area_shared(sizeof(*stage));
	struct pair *window = &stage->window, *block = &stage->block;
	unsigned int pages = job_option(job, "pages");

	crew_init(&stage->crew, job, stage, move, crew_observe);
	window->bytes = pages * PAGE_BYTES;
	block->bytes = BLOCK_BYTES;
	for (int place = 0; place < 2; place++) {
		window->starts[place] = area_window(area_create(1));
		block->starts[place] = place ? area_reserve(1) : area_create(1);
		crew_add_view(&stage->crew, &window->views[place], 0, window->starts[place], pages);
		crew_add_view(&stage->crew, &block->views[place], 1,
			      area_window(block->starts[place]), pages);
	}
	return crew_run(&stage->crew, job);
}

const struct workload mremap_move = {
	.name = "mremap",
	.headline = "mremap moves pages, and page tables, away from threads that read them",
	.run = run,
	.options = { CREW_OPTIONS },
};
