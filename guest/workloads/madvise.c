// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Race: one thread drops pages by madvise(MADV_DONTNEED) while others read them.
 *
 * Anonymous pages come back as zeros, and another thread may bring them back before the flush
 * (a legal window with two page frames); pages of a shared memory file come back as they were.
 * The call works under a shared lock, on newer kernels under the lock of the VMA alone.
 */
#include <sys/mman.h>
#include <unistd.h>

#include "crew.h"

struct stage {
	struct crew crew;
	struct view anon, shared;
};

static void drop(struct crew *crew, uint64_t iteration)
{
	struct stage *stage = crew->stage;
	struct view *view = rng_one_in(&crew->rng, 3) ? &stage->shared : &stage->anon;
	unsigned int first = rng_below(&crew->rng, view->pages);
	unsigned int count = 1 + rng_below(&crew->rng, view->pages - first);
	uint64_t old = 2 * iteration, new = old + 1;

	view_fill(view, view->base, first, count, old);
	if (view->keeps_data)
		view_raise(view, first, count, old);
	crew->exercised += crew_wait(crew);
	if (madvise(view_at(view, first), count * PAGE_BYTES, MADV_DONTNEED))
		die("madvise(MADV_DONTNEED)");
	if (!view->keeps_data)
		view_raise(view, first, count, new);
	crew_jitter(crew);
	view_fill(view, view->base, first, count, new);
}

static void map_shared(char *at, size_t bytes)
{
	char *alias;
	int file = area_memfd(bytes, &alias);

	if (mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0) != at)
		die("mmap of a memory file");
	munmap(alias, bytes);
	close(file);
}

static int run(const struct job *job)
{
	struct stage *stage = area_shared(sizeof(*stage));
	unsigned int pages = job_option(job, "pages");
	char *anon, *shared;

	crew_init(&stage->crew, job, stage, drop, crew_observe);
	anon = area_window(area_create(1));
	shared = area_window(area_create(1));
	map_shared(shared, pages * PAGE_BYTES);
	crew_add_view(&stage->crew, &stage->anon, 0, anon, pages);
	crew_add_view(&stage->crew, &stage->shared, 1, shared, pages);
	stage->shared.keeps_data = true;
	return crew_run(&stage->crew, job);
}

const struct workload madvise_dontneed = {
	.name = "madvise",
	.headline = "madvise(MADV_DONTNEED) drops pages that other threads read",
	.run = run,
	.options = { CREW_OPTIONS },
};
