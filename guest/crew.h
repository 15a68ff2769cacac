/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The frame of every race: the calling thread is the mapper, on CPU 0, and changes mappings step
 * by step; its observers, on the other CPUs, go over the pages again and again and count.
 */
#ifndef CREW_H
#define CREW_H

#include <stdatomic.h>
#include <stdbool.h>

#include "rng.h"
#include "thread.h"
#include "view.h"
#include "workload.h"

enum { CREW_MAX_OBSERVERS = 8, CREW_MAX_VIEWS = 4 };

/* The options that every race takes. */
#define CREW_OPTIONS                                  \
	{ "pages", 8, 1, VIEW_MAX_PAGES },            \
	{                                             \
		"observers", 2, 1, CREW_MAX_OBSERVERS \
	}

struct crew;
struct observer;

/* What the mapper does in iteration @iteration, counted from 1. */
typedef void crew_step(struct crew *crew, uint64_t iteration);
/* What an observer does over and over: once over all pages. */
typedef void crew_pass(struct observer *observer);

struct observer {
	struct thread thread;
	struct crew *crew;
	unsigned int index;
	uint64_t loads, stores, faults, stale, seen[SIGHT_KINDS];
	_Atomic uint64_t passes, remote_passes; /* all of them, and those off the mapper's CPU */
} __attribute__((aligned(128)));		/* no false sharing */

struct crew {
	struct rng rng;
	struct view *views[CREW_MAX_VIEWS];
	unsigned int view_count, observer_count;
	struct observer observers[CREW_MAX_OBSERVERS];
	_Atomic bool stop;
	uint64_t exercised; /* steps before which an observer had used every page */
	void *stage;	    /* what the workload keeps */
	crew_step *step;
	crew_pass *pass;
};

/*
 * Fill @crew, all zeros and in memory of area_shared, and become the mapper: small pages, name,
 * CPU, seed, handler of faults.
 */
void crew_init(struct crew *crew, const struct job *job, void *stage, crew_step *step,
	       crew_pass *pass);

/* A view of crew's, declared to the plugin as the next range. */
void crew_add_view(struct crew *crew, struct view *view, unsigned int family, char *base,
		   unsigned int pages);

/* Start the observers, take the steps 1..ITERATIONS, stop, report. Returns the status. */
int crew_run(struct crew *crew, const struct job *job);

/* The usual pass: read all views. A view is left at the first fault. */
crew_pass crew_observe;

/*
 * The page to visit as number @index of this pass. Each pass starts one page further on, so that
 * a pass may end at its first fault (a signal costs as much as a thousand loads) and still no
 * page is always left out.
 */
unsigned int crew_turn(const struct observer *observer, unsigned int index, unsigned int pages);

/*
 * What a writer's @count-th store writes: it changes seldom, because the recorder writes a record
 * for each change and a writer does nothing but store.
 */
static inline uint64_t crew_value(uint64_t count)
{
	return count / 1024 + 1;
}

/*
 * Wait until an observer on another CPU has gone over all pages anew, so that its CPU may hold
 * what the page tables say now; then waste a little time. Gives up after a while and returns
 * false: a workload has no clock and must not hang.
 */
bool crew_wait(struct crew *crew);

/* Waste a few hundred cycles, as the seed says, so that iterations do not all look alike. */
void crew_jitter(struct crew *crew);

#endif
