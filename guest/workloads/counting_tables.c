// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * No race: one thread fills, drops and unmaps pages, makes page tables and gives them back, and has
 * the kernel walk its tables without locks, each between mark_begin and mark_end. How often a
 * page-table lock is taken, which frames and tables are freed and how many walks there are is known
 * from the kernel's source. The page map and the process's own count of tables are the witnesses.
 *
 * The pages lie in a block whose table exists already and survives; the tables that come and go
 * hang below tables that do.
 */
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "area.h"
#include "marks.h"
#include "pagemap.h"
#include "thread.h"
#include "workload.h"

enum { PAGES = 64, TABLES = 4, WALKS = 16, SOURCE_PAGE = 96, SETTLE_US = 50000 };

struct stage {
	char *pages, *blocks; /* PAGES pages; TABLES blocks of which each has a table of its own */
	uint32_t *word;
};

/* What the kernel says of the process before and after a phase. */
struct result {
	uint64_t tables_before, tables_after; /* page tables, in bytes */
	uint64_t pfn_sum;		      /* over the pages that were there before */
	uint64_t present_before, present_after;
};

static void fill(struct stage *stage)
{
	area_touch(stage->pages, PAGES * PAGE_BYTES);
}

static void drop(struct stage *stage)
{
	if (madvise(stage->pages, PAGES * PAGE_BYTES, MADV_DONTNEED))
		die("madvise");
}

static void unmap(struct stage *stage)
{
	if (munmap(stage->pages, PAGES * PAGE_BYTES))
		die("munmap");
}

static void make_tables(struct stage *stage)
{
	for (int i = 0; i < TABLES; i++)
		area_touch(stage->blocks + i * BLOCK_BYTES, PAGE_BYTES);
}

static void drop_tables(struct stage *stage)
{
	if (munmap(stage->blocks, TABLES * BLOCK_BYTES))
		die("munmap");
}

/* A futex that other processes may share is known by its page: get_user_pages_fast(). */
static void walk(struct stage *stage)
{
	for (int i = 0; i < WALKS; i++)
		if (syscall(SYS_futex, stage->word, FUTEX_WAKE, 1, NULL, NULL, 0) < 0)
			die("futex");
}

static const struct phase {
	const char *name;
	void (*act)(struct stage *stage);
} phases[] = {
	{ "fill", fill },   { "drop", drop },	       { "refill", fill },
	{ "unmap", unmap }, { "tables", make_tables }, { "untables", drop_tables },
	{ "walk", walk },
};
enum { PHASES = sizeof(phases) / sizeof(phases[0]) };

/* VmPTE: bytes of the tables of all levels. */
static uint64_t table_bytes(void)
{
	unsigned long kib = 0;
	char line[128];
	FILE *file = fopen("/proc/self/status", "re");

	if (!file)
		die("open status");
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "VmPTE: %lu", &kib) == 1)
			break;
	fclose(file);
	return (uint64_t)kib << 10;
}

static struct result measure(struct stage *stage, const struct phase *phase)
{
	static struct pagemap before, after;
	struct mark_name name = mark_pack(phase->name);
	struct result result;

	pagemap_read(&before, stage->pages, PAGES);
	result.tables_before = table_bytes();
	mark_begin(name, PAGES);
	phase->act(stage);
	mark_end(name, PAGES);
	result.tables_after = table_bytes();
	pagemap_read(&after, stage->pages, PAGES);
	result.pfn_sum = pagemap_frames(&before);
	result.present_before = pagemap_present(&before);
	result.present_after = pagemap_present(&after);
	return result;
}

/*
 * Tables may be freed a grace period later, and new pages wait in batches of each CPU, which hold
 * them: let that be over before the next iteration.
 */
static void settle(void)
{
	int file = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);

	if (file < 0 || write(file, "1", 1) != 1)
		die("drop_caches");
	close(file);
	syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
	usleep(SETTLE_US);
}

static void run_phases(struct stage *stage, struct result results[PHASES])
{
	area_map(stage->pages, PAGES * PAGE_BYTES);
	area_map(stage->blocks, TABLES * BLOCK_BYTES);
	for (int i = 0; i < PHASES; i++)
		results[i] = measure(stage, &phases[i]);
	settle();
}

/* A hole of PAGES pages in a block with its table; TABLES bare blocks between two with tables. */
static void prepare(struct stage *stage)
{
	static uint32_t word;
	char *block = area_create(1), *around = area_reserve(TABLES + 2);

	stage->word = &word;
	word = 1; /* it has a page that is written to */
	stage->pages = block + SOURCE_PAGE * PAGE_BYTES;
	stage->blocks = around + BLOCK_BYTES;
	area_map(around, PAGE_BYTES);
	area_map(around + (TABLES + 1) * BLOCK_BYTES, PAGE_BYTES);
	area_touch(around, PAGE_BYTES);
	area_touch(around + (TABLES + 1) * BLOCK_BYTES, PAGE_BYTES);
	area_hole(stage->pages, PAGES);
}

static int run(const struct job *job)
{
	static struct result results[PHASES];
	static struct stage stage;

	area_small_pages();
	thread_become("mapper", 0);
	prepare(&stage);
	mark_note((uint64_t)stage.pages, PAGES, (uint64_t)stage.blocks, TABLES);
	for (uint64_t iteration = 0; iteration <= job->iterations; iteration++) {
		mark_iter(iteration);
		run_phases(&stage, results);
	}
	for (int i = 0; i < PHASES; i++) {
		report(results[i].tables_before, "%s.table_bytes_before", phases[i].name);
		report(results[i].tables_after, "%s.table_bytes_after", phases[i].name);
		report(results[i].pfn_sum, "%s.pfn_sum", phases[i].name);
		report(results[i].present_before, "%s.present_before", phases[i].name);
		report(results[i].present_after, "%s.present_after", phases[i].name);
	}
	return STATUS_OK;
}

const struct workload counting_tables = {
	.name = "counting_tables",
	.headline = "a fixed sequence whose lock holds, freed frames, tables and walks are known",
	.run = run,
};
