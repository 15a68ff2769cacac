// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * No race: a fixed sequence of operations by one thread, each between mark_begin and mark_end with
 * nothing else in between, whose page-table changes, flushes and lock acquisitions are known from
 * the kernel's source. The kernel's own tracepoints, page map and fault counter are the witnesses.
 *
 * The pages lie in a VMA of their own that touches no other one, in a block whose page table
 * exists already and survives. One uncounted round comes first, so that code, data and stack of
 * the process are in place and no fault but the expected ones falls into a phase.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "area.h"
#include "marks.h"
#include "pagemap.h"
#include "procfs.h"
#include "thread.h"
#include "tracing.h"
#include "workload.h"

enum { PAGES = 64, DROPPED = 32, MOVED = 16, MAX_PHASES = 16 };

/* Where in the block things are, in pages. */
enum { SOURCE_PAGE = 96, TARGET_PAGE = 256 };

/* What was counted in one phase. All members are numbers of one size: compared as memory. */
struct result {
	uint64_t faults, present_before, present_after, pfn_changed, target_present;
	struct tracing_counts traced;
};

struct stage {
	char *source, *target;
	volatile char *top; /* the stack below it is written to while a phase is measured */
	bool witnesses;
};

static void map_new(struct stage *stage)
{
	if (mmap(stage->source, PAGES * PAGE_BYTES, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != stage->source)
		die("mmap");
}

static void touch(struct stage *stage)
{
	area_touch(stage->source, PAGES * PAGE_BYTES);
}

static void protect(struct stage *stage)
{
	if (mprotect(stage->source, PAGES * PAGE_BYTES, PROT_READ))
		die("mprotect");
}

static void unprotect(struct stage *stage)
{
	if (mprotect(stage->source, PAGES * PAGE_BYTES, PROT_READ | PROT_WRITE))
		die("mprotect");
}

static void map_over(struct stage *stage)
{
	area_map(stage->source, PAGES * PAGE_BYTES);
}

static void drop(struct stage *stage)
{
	if (madvise(stage->source, DROPPED * PAGE_BYTES, MADV_DONTNEED))
		die("madvise");
}

static void move(struct stage *stage)
{
	if (mremap(stage->source, MOVED * PAGE_BYTES, MOVED * PAGE_BYTES,
		   MREMAP_MAYMOVE | MREMAP_FIXED, stage->target) != stage->target)
		die("mremap");
}

/* Write to every page that is written to before the witnesses stop: none of them is shared then. */
static __attribute__((noinline)) void settle(const struct stage *stage)
{
	volatile char deeper[2 * PAGE_BYTES];

	for (size_t at = 0; at < sizeof(deeper); at += PAGE_BYTES)
		deeper[at] = 0;
	for (volatile char *byte = deeper + sizeof(deeper); byte < stage->top; byte += PAGE_BYTES)
		*byte = *byte;
	*stage->top = *stage->top;
}

static void fork_child(struct stage *stage)
{
	int status;
	long child = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);

	if (child == 0)
		syscall(SYS_exit_group, 0);
	if (child < 0 || waitpid((pid_t)child, &status, 0) < 0)
		die("clone and wait");
	settle(stage);
}

static void unmap(struct stage *stage)
{
	if (munmap(stage->source, PAGES * PAGE_BYTES))
		die("munmap");
}

/* In this order; each one's number of pages goes into its marks. Where all lie is in a note. */
static const struct phase {
	const char *name;
	void (*act)(struct stage *stage);
	unsigned int pages;
} phases[] = {
	{ "mmap", map_new, PAGES },	   { "touch", touch, PAGES },
	{ "mprotect_ro", protect, PAGES }, { "mprotect_rw", unprotect, PAGES },
	{ "rewrite", touch, PAGES },	   { "map_fixed", map_over, PAGES },
	{ "retouch", touch, PAGES },	   { "dontneed", drop, DROPPED },
	{ "refill", touch, PAGES },	   { "fork", fork_child, PAGES },
	{ "break_cow", touch, PAGES },	   { "mremap", move, MOVED },
	{ "munmap", unmap, PAGES },
};
enum { PHASES = sizeof(phases) / sizeof(phases[0]) };

/* In a frame of its own, which settle() knows to be below stage->top. */
static __attribute__((noinline)) struct result measure(struct stage *stage,
						       const struct phase *phase)
{
	static struct pagemap before, after, target;
	struct mark_name name = mark_pack(phase->name);
	struct result result = { 0 };
	uint64_t faults;

	pagemap_read(&before, stage->source, phase->pages);
	if (stage->witnesses)
		tracing_start();
	faults = procfs_faults();
	mark_begin(name, phase->pages);
	phase->act(stage);
	mark_end(name, phase->pages);
	result.faults = procfs_faults() - faults;
	if (stage->witnesses)
		result.traced = tracing_stop();
	pagemap_read(&after, stage->source, phase->pages);
	pagemap_read(&target, stage->target, MOVED);
	result.present_before = pagemap_present(&before);
	result.present_after = pagemap_present(&after);
	result.pfn_changed = pagemap_changed(&before, &after);
	result.target_present = pagemap_present(&target);
	return result;
}

static void run_phases(struct stage *stage, struct result results[PHASES])
{
	for (int i = 0; i < PHASES; i++)
		results[i] = measure(stage, &phases[i]);
	if (munmap(stage->target, MOVED * PAGE_BYTES))
		die("munmap");
}

/* Number of phases that did not go the same way twice. */
static uint64_t compare(const struct result now[PHASES], const struct result last[PHASES])
{
	uint64_t differ = 0;

	for (int i = 0; i < PHASES; i++)
		/* In fork, parent and child race for the pages they share. */
		differ += phases[i].act != fork_child && memcmp(&now[i], &last[i], sizeof(*now));
	return differ;
}

static void report_phase(const struct stage *stage, const struct phase *phase,
			 const struct result *result)
{
	const struct tracing_counts *traced = &result->traced;
	const char *name = phase->name;

	report(phase->pages, "%s.pages", name);
	report(result->faults, "%s.faults", name);
	report(result->present_before, "%s.present_before", name);
	report(result->present_after, "%s.present_after", name);
	report(result->pfn_changed, "%s.pfn_changed", name);
	report(result->target_present, "%s.target_present", name);
	if (!stage->witnesses) {
		report(1, "%s.no_tracepoints", name);
		return;
	}
	report(traced->lock_acquired_write, "%s.lock_acquired_write", name);
	report(traced->lock_acquired_read, "%s.lock_acquired_read", name);
	report(traced->lock_released, "%s.lock_released", name);
	if (!tracing_has_tlb())
		return;
	report(traced->tlb_flush_events, "%s.tlb_flush_events", name);
	report(traced->tlb_flush_pages, "%s.tlb_flush_pages", name);
	report(traced->tlb_flush_full, "%s.tlb_flush_full", name);
}

/* A block with its table, and two holes in it wide enough that no VMA touches another. */
static void prepare(struct stage *stage)
{
	char *block = area_create(1);

	stage->source = block + SOURCE_PAGE * PAGE_BYTES;
	stage->target = block + TARGET_PAGE * PAGE_BYTES;
	area_hole(stage->source, PAGES);
	area_hole(stage->target, MOVED);
}

static int run(const struct job *job)
{
	static struct result results[PHASES], last[PHASES];
	static struct stage stage;
	uint64_t unstable = 0;

	stage.top = __builtin_frame_address(0);
	area_small_pages();
	thread_become("mapper", 0);
	prepare(&stage);
	mark_note((uint64_t)stage.source, PAGES, (uint64_t)stage.target, MOVED);
	stage.witnesses = tracing_open();
	mark_iter(0);
	run_phases(&stage, results);
	for (uint64_t iteration = 1; iteration <= job->iterations; iteration++) {
		mark_iter(iteration);
		run_phases(&stage, results);
		if (iteration > 1)
			unstable += compare(results, last);
		memcpy(last, results, sizeof(last));
	}
	if (stage.witnesses)
		tracing_close();
	for (int i = 0; i < PHASES; i++)
		report_phase(&stage, &phases[i], &results[i]);
	report(unstable, "unstable");
	return STATUS_OK;
}

const struct workload counting = {
	.name = "counting",
	.headline = "a fixed sequence whose page-table changes, flushes and locks are known",
	.run = run,
};
