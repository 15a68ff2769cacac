// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * No race: one thread drops a page again and again while another, on another CPU, reads it without
 * end. Each drop takes a translation that the other CPU may hold, so it must reach that CPU: on
 * x86 by one interrupt, which the kernel counts ("TLB shootdowns" in /proc/interrupts), on arm64
 * by one broadcast. With one CPU there is nobody to tell.
 */
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "area.h"
#include "marks.h"
#include "thread.h"
#include "workload.h"

struct stage {
	volatile uint64_t *page;
	_Atomic uint64_t passes;
	_Atomic bool stop;
};

static void read_page(void *argument)
{
	struct stage *stage = argument;

	while (!atomic_load(&stage->stop)) {
		(void)*stage->page;
		atomic_fetch_add(&stage->passes, 1);
	}
}

/* TLB shootdowns so far, all CPUs together; false where the kernel counts none. */
static bool counted(uint64_t *sum)
{
	char line[4096];
	FILE *file = fopen("/proc/interrupts", "re");
	bool found = false;

	*sum = 0;
	while (file && !found && fgets(line, sizeof(line), file)) {
		char *at = line + strspn(line, " "), *end;

		found = !strncmp(at, "TLB:", 4);
		for (at += 4; found; at = end) {
			uint64_t one = strtoull(at, &end, 10);

			if (end == at)
				break;
			*sum += one;
		}
	}
	if (file)
		fclose(file);
	return found;
}

/* Until the other thread has read the page as it is now; no clock, so not for ever. */
static bool was_read(struct stage *stage)
{
	uint64_t before = atomic_load(&stage->passes);

	for (unsigned int i = 0; i < 100000000; i++)
		if (atomic_load(&stage->passes) > before + 1)
			return true;
	return false;
}

static int run(const struct job *job)
{
	struct stage *stage = area_shared(sizeof(*stage));
	struct thread reader = { 0 };
	struct mark_name name = mark_pack("drops");
	uint64_t before, after, told = 0;
	bool counts;

	area_small_pages();
	thread_become("dropper", 0);
	/* Shared: what a reader faults in is the page itself, so that no write has to copy it. */
	stage->page = area_shared(PAGE_BYTES);
	thread_start(&reader, "reader", thread_observer_cpu(0), read_page, stage);
	counts = counted(&before); /* the first time is slow */
	was_read(stage);
	counts = counted(&before);
	mark_begin(name, 1);
	for (uint64_t i = 0; i < job->iterations; i++) {
		*stage->page = i;
		told += was_read(stage);
		if (madvise((void *)stage->page, PAGE_BYTES, MADV_DONTNEED))
			die("madvise");
	}
	mark_end(name, 1);
	counted(&after);
	atomic_store(&stage->stop, true);
	thread_join(&reader);
	if (counts)
		report(after - before, "tlb_interrupts");
	report(told, "exercised");
	return STATUS_OK;
}

const struct workload ipis = {
	.name = "ipis",
	.headline =
		"no race: each drop of a page reaches the one CPU that reads it, and is counted",
	.run = run,
};
