// SPDX-License-Identifier: GPL-2.0-or-later
#include "crew.h"

#include <sched.h>
#include <stdio.h>

#include "access.h"
#include "marks.h"

enum { MAPPER_CPU = 0 };

/* Far longer than two passes over the views take, far shorter than an impatient host. */
static const unsigned int wait_rounds = 300000;

static const char *const sight_names[SIGHT_KINDS] = {
	[SIGHT_ZERO] = "zero",	     [SIGHT_OLD] = "old",   [SIGHT_NEW] = "new",
	[SIGHT_FOREIGN] = "foreign", [SIGHT_LOST] = "lost",
};

/* Load the word of one page. Returns false when that faulted. */
static bool observe_page(struct observer *observer, struct view *view, unsigned int page)
{
	uint64_t floor = atomic_load_explicit(&view->floor[page], memory_order_acquire);
	uint64_t value;
	bool stale;

	if (!access_load(view_at(view, page), &value)) {
		observer->faults++;
		return false;
	}
	observer->loads++;
	observer->seen[view_classify(view, page, value, floor, &stale)]++;
	observer->stale += stale;
	return true;
}

unsigned int crew_turn(const struct observer *observer, unsigned int index, unsigned int pages)
{
	return (atomic_load_explicit(&observer->passes, memory_order_relaxed) + index) % pages;
}

void crew_observe(struct observer *observer)
{
	struct crew *crew = observer->crew;

	for (unsigned int i = 0; i < crew->view_count; i++) {
		struct view *view = crew->views[i];

		for (unsigned int index = 0; index < view->pages; index++)
			if (!observe_page(observer, view, crew_turn(observer, index, view->pages)))
				break;
	}
}

static void observer_main(void *data)
{
	struct observer *observer = data;
	struct crew *crew = observer->crew;

	while (!atomic_load_explicit(&crew->stop, memory_order_relaxed)) {
		crew->pass(observer);
		atomic_fetch_add_explicit(&observer->passes, 1, memory_order_release);
		if (sched_getcpu() != MAPPER_CPU)
			atomic_fetch_add_explicit(&observer->remote_passes, 1,
						  memory_order_release);
		cpu_relax();
	}
}

static uint64_t remote_passes(const struct observer *observer)
{
	return atomic_load_explicit(&observer->remote_passes, memory_order_acquire);
}

void crew_jitter(struct crew *crew)
{
	for (uint64_t rounds = rng_below(&crew->rng, 128); rounds; rounds--)
		cpu_relax();
}

bool crew_wait(struct crew *crew)
{
	uint64_t before[CREW_MAX_OBSERVERS];

	for (unsigned int i = 0; i < crew->observer_count; i++)
		before[i] = remote_passes(&crew->observers[i]);
	for (unsigned int round = 0; thread_cpus() > 1 && round < wait_rounds; round++) {
		/* Two passes: the one that runs now may be past the pages that changed. */
		for (unsigned int i = 0; i < crew->observer_count; i++) {
			if (remote_passes(&crew->observers[i]) >= before[i] + 2) {
				crew_jitter(crew);
				return true;
			}
		}
		cpu_relax();
	}
	sched_yield();
	return false;
}

void crew_init(struct crew *crew, const struct job *job, void *stage, crew_step *step,
	       crew_pass *pass)
{
	crew->stage = stage;
	crew->step = step;
	crew->pass = pass;
	area_small_pages();
	access_init();
	thread_become("mapper", MAPPER_CPU);
	crew->rng.state = job->seed;
	crew->observer_count = job_option(job, "observers");
}

void crew_add_view(struct crew *crew, struct view *view, unsigned int family, char *base,
		   unsigned int pages)
{
	view_init(view, crew->view_count, family, base, pages);
	crew->views[crew->view_count++] = view;
}

static void start_observers(struct crew *crew)
{
	for (unsigned int i = 0; i < crew->observer_count; i++) {
		struct observer *observer = &crew->observers[i];
		char name[16];

		observer->crew = crew;
		observer->index = i;
		snprintf(name, sizeof(name), "observer%u", i);
		thread_start(&observer->thread, name, thread_observer_cpu(i), observer_main,
			     observer);
	}
	for (unsigned int i = 0; i < crew->observer_count; i++)
		while (!atomic_load(&crew->observers[i].passes))
			sched_yield();
}

static void stop_observers(struct crew *crew)
{
	atomic_store(&crew->stop, true);
	for (unsigned int i = 0; i < crew->observer_count; i++)
		thread_join(&crew->observers[i].thread);
}

/* Report the counters of @observer, each key preceded by @prefix. */
static void report_observer(const struct observer *observer, const char *prefix)
{
	report(observer->loads, "%sloads", prefix);
	report(observer->stores, "%sstores", prefix);
	report(observer->faults, "%sfaults", prefix);
	for (int kind = 0; kind < SIGHT_KINDS; kind++)
		report(observer->seen[kind], "%s%s", prefix, sight_names[kind]);
	report(observer->stale, "%sstale_after_return", prefix);
}

static int report_crew(const struct crew *crew)
{
	struct observer total = { 0 };

	for (unsigned int i = 0; i < crew->observer_count; i++) {
		const struct observer *observer = &crew->observers[i];
		char prefix[32];

		snprintf(prefix, sizeof(prefix), "%s.", observer->thread.name);
		report_observer(observer, prefix);
		total.loads += observer->loads;
		total.stores += observer->stores;
		total.faults += observer->faults;
		total.stale += observer->stale;
		for (int kind = 0; kind < SIGHT_KINDS; kind++)
			total.seen[kind] += observer->seen[kind];
	}
	report_observer(&total, "");
	report(crew->exercised, "exercised");
	return total.seen[SIGHT_FOREIGN] || total.seen[SIGHT_LOST] ? STATUS_IMPOSSIBLE : STATUS_OK;
}

int crew_run(struct crew *crew, const struct job *job)
{
	start_observers(crew);
	for (uint64_t iteration = 1; iteration <= job->iterations; iteration++) {
		mark_iter(iteration);
		crew->step(crew, iteration);
	}
	stop_observers(crew);
	for (unsigned int i = 0; i < crew->view_count; i++)
		view_release(crew->views[i]);
	return report_crew(crew);
}
