// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Race: one thread unmaps pages, or whole page tables, while another one sleeps and wakes.
 *
 * Its CPU keeps the address space when it goes idle (lazy TLB) and need not be interrupted for
 * every flush: then it must catch up before it runs the thread again. When tables are freed it
 * must be interrupted, because it may still walk them. And while it loads another address space,
 * with interrupts off, it answers nothing.
 */
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "access.h"
#include "arch.h"
#include "area.h"
#include "marks.h"
#include "thread.h"
#include "workload.h"

enum { PAGES = 4, NAP_NS = 100000, PATIENCE = 200000 };

struct stage {
	char *window, *block;
	struct thread sleeper;
	_Atomic uint64_t naps;
	_Atomic bool stop;
	uint64_t refused;
};

static void sleeper_main(void *argument)
{
	const struct timespec nap = { .tv_nsec = NAP_NS };
	struct stage *stage = argument;
	uint64_t value;

	while (!atomic_load(&stage->stop)) {
		for (unsigned int page = 0; page < PAGES; page++)
			stage->refused += !access_load(stage->window + page * PAGE_BYTES, &value);
		clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, NULL);
		atomic_fetch_add(&stage->naps, 1);
	}
}

/* A process that shares nothing but the sleeper's CPU: so that CPU loads another root. */
static pid_t start_stranger(void)
{
	const struct timespec nap = { .tv_nsec = NAP_NS };
	pid_t pid = fork();

	if (pid < 0)
		die("fork");
	if (pid == 0) {
		thread_become("stranger", thread_observer_cpu(0));
		for (;;)
			clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, NULL);
	}
	return pid;
}

/* Until the sleeper has seen the pages; not for ever, for somebody may hold it. */
static void wait_for_nap(struct stage *stage)
{
	uint64_t before = atomic_load(&stage->naps);

	for (int i = 0; i < PATIENCE && atomic_load(&stage->naps) < before + 2; i++)
		cpu_relax();
}

static int run(const struct job *job)
{
	struct stage *stage = area_shared(sizeof(*stage));
	size_t bytes = PAGES * PAGE_BYTES;
	pid_t stranger = 0;

	area_small_pages();
	access_init();
	thread_become("mapper", 0);
	stage->block = job_option(job, "tables") ? area_reserve(1) : area_create(1);
	stage->window = area_window(stage->block);
	area_map(stage->window, bytes);
	if (job_option(job, "stranger"))
		stranger = start_stranger();
	mark_range(0, stage->window, bytes);
	thread_start(&stage->sleeper, "sleeper", thread_observer_cpu(0), sleeper_main, stage);
	for (uint64_t iteration = 1; iteration <= job->iterations; iteration++) {
		mark_iter(iteration);
		area_touch(stage->window, bytes);
		wait_for_nap(stage);
		if (munmap(stage->window, bytes))
			die("munmap");
		area_map(stage->window, bytes);
	}
	atomic_store(&stage->stop, true);
	thread_join(&stage->sleeper);
	mark_unrange(0);
	if (stranger)
		kill(stranger, SIGKILL);
	report(stage->refused, "refused");
	return STATUS_OK;
}

const struct workload lazy = {
	.name = "lazy",
	.headline =
		"munmap takes pages, or tables, away from a CPU that idles in the address space",
	.run = run,
	.options = { { "tables", 0, 0, 1 }, { "stranger", 0, 0, 1 } },
};
