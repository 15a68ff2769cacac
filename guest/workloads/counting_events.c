// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * No race: for event groups, a fixed sequence by one thread whose VMAs, locks of VMAs, page faults and
 * pinned pages are known from the kernel's source, each operation between mark_begin and mark_end.
 * /proc/self/maps, the fault counter of getrusage() and the pin counters of /proc/vmstat are the
 * witnesses.
 *
 * All of it lies in a hole of a block whose page table exists already and survives, far enough
 * apart that no two VMAs touch but those that are meant to.
 */
#include "access.h"
#include "area.h"
#include "event_phases.h"
#include "marks.h"
#include "procfs.h"
#include "thread.h"
#include "workload.h"

struct result {
	uint64_t vmas_before, vmas_after, faults, pinned, unpinned;
	uint64_t pfnmap, softdirty; /* VMAs with the flag, after it */
};

static struct result measure(const struct event_phase *phase)
{
	struct mark_name name = mark_pack(phase->name);
	struct result result;
	uint64_t faults, pinned, unpinned;

	result.vmas_before = procfs_vmas();
	procfs_refresh();
	pinned = procfs_vmstat("nr_foll_pin_acquired");
	unpinned = procfs_vmstat("nr_foll_pin_released");
	faults = procfs_faults();
	mark_begin(name, 0);
	phase->act();
	mark_end(name, 0);
	result.faults = procfs_faults() - faults;
	procfs_refresh();
	result.pinned = procfs_vmstat("nr_foll_pin_acquired") - pinned;
	result.unpinned = procfs_vmstat("nr_foll_pin_released") - unpinned;
	result.vmas_after = procfs_vmas();
	result.pfnmap = procfs_flagged("pf");
	result.softdirty = procfs_flagged("sd");
	return result;
}

static void measure_from(int first, int end, struct result results[EVENT_PHASES])
{
	for (int i = first; i < end; i++)
		results[i] = measure(&event_phases[i]);
}

static void run_phases(struct result results[EVENT_PHASES])
{
	int vma_end = 1;

	while (event_phases[vma_end].name[0] == 'v')
		vma_end++;
	measure_from(0, 1, results);
	procfs_populate(); /* the fork made pages shared that later phases would copy */
	measure_from(1, vma_end, results);
	event_phases_map();
	measure_from(vma_end, EVENT_PHASES, results);
	event_phases_clear();
}

static int run(const struct job *job)
{
	static struct result results[EVENT_PHASES];

	area_small_pages();
	thread_become("mapper", 0);
	access_init();
	event_phases_prepare();
	for (uint64_t iteration = 0; iteration <= job->iterations; iteration++) {
		mark_iter(iteration); /* the first one warms up */
		run_phases(results);
	}
	for (int i = 0; i < EVENT_PHASES; i++) {
		report(results[i].vmas_before, "%s.vmas_before", event_phases[i].name);
		report(results[i].vmas_after, "%s.vmas_after", event_phases[i].name);
		report(results[i].faults, "%s.faults", event_phases[i].name);
		report(results[i].pinned, "%s.pinned", event_phases[i].name);
		report(results[i].unpinned, "%s.unpinned", event_phases[i].name);
		report(results[i].pfnmap, "%s.pfnmap", event_phases[i].name);
		report(results[i].softdirty, "%s.softdirty", event_phases[i].name);
	}
	return STATUS_OK;
}

const struct workload counting_events = {
	.name = "counting_events",
	.headline = "a fixed sequence whose VMAs, VMA locks, faults and pins are known",
	.run = run,
};
