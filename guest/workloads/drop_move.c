// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Race: one thread drops pages by madvise(MADV_DONTNEED), and a second one moves, guards or drops
 * the same range before the first has flushed, while others read.
 *
 * The second one finds the entries clear and so has nothing to move and nothing to flush. When it
 * returns, its range must be what it says: empty, or without access. Who reads the old stamp
 * there after that used a translation that nobody has flushed yet.
 */
#include <sys/mman.h>
#include <unistd.h>

#include "arch.h"
#include "crew.h"
#include "pagemap.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

enum { RELAX_EVERY = 256 };
enum { BY_DONTUNMAP, BY_MREMAP, BY_GUARD, BY_DROP, BY_LAST = BY_DROP };

struct stage {
	struct crew crew;
	struct view view;
	struct thread mover;
	char *elsewhere;
	uint64_t how, patience;
	_Atomic uint64_t asked, dropped, moved; /* iterations */
	uint64_t early; /* second operations that were over before madvise was */
};

static void take_away(struct stage *stage)
{
	struct view *view = &stage->view;
	size_t bytes = view->pages * PAGE_BYTES;
	int flags = MREMAP_MAYMOVE | MREMAP_FIXED;
	void *to;

	if (stage->how == BY_GUARD) {
		if (madvise(view->base, bytes, MADV_GUARD_INSTALL))
			die("madvise(MADV_GUARD_INSTALL)");
		return;
	}
	if (stage->how == BY_DROP) {
		if (madvise(view->base, bytes, MADV_DONTNEED))
			die("madvise(MADV_DONTNEED)");
		return;
	}
	flags |= stage->how == BY_DONTUNMAP ? MREMAP_DONTUNMAP : 0;
	to = mremap(view->base, bytes, bytes, flags, stage->elsewhere);
	if (to != stage->elsewhere)
		die("mremap");
}

/* Whether the last page is still there. */
static bool is_there(const struct view *view)
{
	struct pagemap map;

	pagemap_read(&map, view_at(view, view->pages - 1), 1);
	return pagemap_present(&map);
}

/*
 * Act once the last page is gone: right then, or, so that somebody may hold the mapper meanwhile,
 * when madvise has returned or patience has ended.
 */
static void move_once(struct stage *stage, uint64_t iteration)
{
	struct view *view = &stage->view;

	while (is_there(view) && atomic_load(&stage->dropped) < iteration)
		cpu_relax();
	for (uint64_t i = 0; i < stage->patience && atomic_load(&stage->dropped) < iteration; i++)
		if (i % RELAX_EVERY == 0)
			cpu_relax();
	take_away(stage);
	stage->early += atomic_load(&stage->dropped) < iteration;
	view_raise(view, 0, view->pages, 2 * iteration + 1);
	atomic_store(&stage->moved, iteration);
}

static void mover_main(void *argument)
{
	struct stage *stage = argument;
	uint64_t iteration = 0;

	while (!atomic_load(&stage->crew.stop)) {
		if (atomic_load(&stage->asked) > iteration)
			move_once(stage, ++iteration);
		cpu_relax();
	}
}

static void map_anew(const struct stage *stage)
{
	size_t bytes = stage->view.pages * PAGE_BYTES;

	area_map(stage->view.base, bytes);
	if (stage->how <= BY_MREMAP && munmap(stage->elsewhere, bytes))
		die("munmap");
}

static void drop(struct crew *crew, uint64_t iteration)
{
	struct stage *stage = crew->stage;
	struct view *view = &stage->view;

	view_fill(view, view->base, 0, view->pages, 2 * iteration);
	crew->exercised += crew_wait(crew);
	atomic_store(&stage->asked, iteration);
	if (madvise(view->base, view->pages * PAGE_BYTES, MADV_DONTNEED))
		die("madvise(MADV_DONTNEED)");
	atomic_store(&stage->dropped, iteration);
	while (atomic_load(&stage->moved) < iteration)
		cpu_relax();
	map_anew(stage);
}

/* Guards came with 6.13. */
static void need_guards(void)
{
	char *block = area_create(1);

	if (madvise(area_window(block), PAGE_BYTES, MADV_GUARD_INSTALL))
		skip("this kernel has no guards (MADV_GUARD_INSTALL)");
}

static int run(const struct job *job)
{
	struct stage *stage = area_shared(sizeof(*stage));
	unsigned int pages = job_option(job, "pages");
	int status;

	stage->how = job_option(job, "by");
	if (stage->how == BY_GUARD)
		need_guards();
	crew_init(&stage->crew, job, stage, drop, crew_observe);
	stage->patience = job_option(job, "patience");
	/* A hole: mremap would unmap what is there, and flush for that. */
	stage->elsewhere = area_window(area_create(1));
	if (munmap(stage->elsewhere, pages * PAGE_BYTES))
		die("munmap");
	crew_add_view(&stage->crew, &stage->view, 0, area_window(area_create(1)), pages);
	thread_start(&stage->mover, "mover", thread_observer_cpu((int)job_option(job, "observers")),
		     mover_main, stage);
	status = crew_run(&stage->crew, job);
	thread_join(&stage->mover);
	report(stage->early, "early");
	return status;
}

const struct workload drop_move = {
	.name = "drop_move",
	.headline = "mremap or a guard comes before the flush of MADV_DONTNEED, while others read",
	.run = run,
	.options = {
		{ "pages", 1, 1, VIEW_MAX_PAGES },
		{ "observers", 1, 1, CREW_MAX_OBSERVERS },
		{ "by", BY_MREMAP, 0, BY_LAST },
		{ "patience", 0, 0, 1000000000 },
	},
};
