// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Race: KSM merges two pages of the same content while one of them is written.
 *
 * ksmd write-protects a page, flushes, and compares once more before it replaces the page by the
 * merged one. A store that another CPU makes meanwhile, through what its TLB has kept, must be
 * seen by that comparison, and stay; the other page must stay as it was.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "arch.h"
#include "area.h"
#include "marks.h"
#include "partner.h"
#include "workload.h"

enum { PAGES = 2 };

struct stage {
	char *window;
	struct partner writer;
	uint64_t quiet, merged;
};

static volatile uint64_t *word(const struct stage *stage, uint64_t page)
{
	return (volatile uint64_t *)(stage->window + page % PAGES * PAGE_BYTES);
}

static void set(const char *name, const char *value)
{
	char path[64] = "/sys/kernel/mm/ksm/";
	int file = open(strcat(path, name), O_WRONLY | O_CLOEXEC);

	if (file < 0 || write(file, value, strlen(value)) < 0)
		die("%s", path);
	close(file);
}

static bool is_merged(void)
{
	char text[16] = "0";
	int file = open("/sys/kernel/mm/ksm/pages_sharing", O_RDONLY | O_CLOEXEC);

	if (file < 0 || read(file, text, sizeof(text) - 1) < 1)
		die("pages_sharing");
	close(file);
	return text[0] != '0';
}

/* ksmd must not share a CPU with who writes: it may be held there. */
static void pin_ksmd(void)
{
	struct dirent *entry;
	DIR *proc = opendir("/proc");
	cpu_set_t last;

	CPU_ZERO(&last);
	CPU_SET(thread_cpus() - 1, &last);
	while (proc && (entry = readdir(proc))) {
		char path[300], name[16] = "";
		int file;

		snprintf(path, sizeof(path), "/proc/%s/comm", entry->d_name);
		file = open(path, O_RDONLY | O_CLOEXEC);
		if (file < 0)
			continue;
		if (read(file, name, sizeof(name) - 1) > 0 && !strcmp(name, "ksmd\n") &&
		    sched_setaffinity(atoi(entry->d_name), sizeof(last), &last))
			die("pin ksmd");
		close(file);
	}
	if (proc)
		closedir(proc);
}

/* ksmd merges only what has not changed for a while: look for as long, so that the TLB has it. */
static void write_late(void *argument, uint64_t iteration)
{
	struct stage *stage = argument;

	for (uint64_t i = 0; i < stage->quiet; i++) {
		(void)*word(stage, i);
		cpu_relax();
	}
	*word(stage, iteration) = iteration;
}

/* Returns whether both pages are what they must be. */
static bool step(struct stage *stage, uint64_t iteration)
{
	uint64_t same = ~iteration;

	*word(stage, 0) = *word(stage, 1) = same;
	partner_ask(&stage->writer, iteration);
	partner_wait(&stage->writer);
	stage->merged += is_merged();
	return *word(stage, iteration) == iteration && *word(stage, iteration + 1) == same;
}

static int run(const struct job *job)
{
	struct stage *stage = area_shared(sizeof(*stage));
	uint64_t lost = 0;

	area_small_pages();
	thread_become("mapper", 0);
	stage->quiet = job_option(job, "quiet");
	stage->window = area_window(area_create(1));
	if (madvise(stage->window, PAGES * PAGE_BYTES, MADV_MERGEABLE))
		skip("the kernel has no KSM");
	mark_range(0, stage->window, PAGES * PAGE_BYTES);
	pin_ksmd();
	set("sleep_millisecs", "1");
	set("pages_to_scan", "100");
	set("run", "1");
	partner_start(&stage->writer, "writer", 0, write_late, stage);
	for (uint64_t iteration = 1; iteration <= job->iterations; iteration++) {
		mark_iter(iteration);
		lost += !step(stage, iteration);
	}
	partner_stop(&stage->writer);
	set("run", "0");
	mark_unrange(0);
	report(stage->merged, "merged");
	report(lost, "lost");
	return lost ? STATUS_IMPOSSIBLE : STATUS_OK;
}

const struct workload ksm = {
	.name = "ksm",
	.headline = "ksmd merges pages while one of them is written",
	.run = run,
	.options = { { "quiet", 100000, 0, 1000000000 } },
};
