// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * No race: every way in which page tables come and go, for the audit of the tracker.
 *
 * Each iteration forks, executes and exits, faults huge pages in and has them split and collapsed,
 * moves mappings, shares memory, spreads over many tables and lets the kernel use vmalloc. At
 * the end a child stays behind, asleep, with many tables full of entries: the audit finds them.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "area.h"
#include "channel.h"
#include "marks.h"
#include "rng.h"
#include "spread.h"
#include "thread.h"
#include "workload.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

enum { HUGE_BLOCKS = 4, THREADS = 16, BPF_MAPS = 8, SHARED_PAGES = 32, SPREAD_TABLES = 16 };

static uint64_t huge_kib, collapsed, bpf_maps;

static void wait_for(pid_t child)
{
	int status;

	if (child < 0 || waitpid(child, &status, 0) < 0)
		die("fork and wait");
	errno = 0;
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		die("a child ended with wait status %#x", status);
}

/* A new program, with as many pages as the seed says. */
static void execute(struct rng *rng)
{
	char pages[16];
	pid_t child;

	snprintf(pages, sizeof(pages), "%u", 16 + (unsigned int)rng_below(rng, 1024));
	child = fork();
	if (child == 0) {
		execl("/proc/self/exe", "init", "touch", pages, NULL);
		_exit(127);
	}
	wait_for(child);
}

/* A child that shares pages with us, privately and for real, writes to both, and exits. */
static void share(void)
{
	size_t bytes = SHARED_PAGES * PAGE_BYTES;
	char *alias, *private = area_create(1);
	int file = area_memfd(bytes, &alias);
	pid_t child;

	area_touch(alias, bytes / 2);
	child = fork();
	if (child == 0) {
		area_touch(alias, bytes);
		area_touch(private, bytes);
		_exit(0);
	}
	area_touch(private, bytes);
	wait_for(child);
	close(file);
	munmap(alias, bytes);
	munmap(private, BLOCK_BYTES);
}

static uint64_t huge_now(void)
{
	FILE *file = fopen("/proc/self/smaps_rollup", "re");
	unsigned long kib = 0;
	char line[128];

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "AnonHugePages: %lu kB", &kib) == 1)
			break;
	if (file)
		fclose(file);
	return kib;
}

/* Huge pages: faulted in, then split in four ways. */
static void split_huge(void)
{
	char *area = area_reserve(HUGE_BLOCKS), *page;

	area_map(area, HUGE_BLOCKS * BLOCK_BYTES);
	madvise(area, HUGE_BLOCKS * BLOCK_BYTES, MADV_HUGEPAGE);
	for (int block = 0; block < HUGE_BLOCKS; block++)
		area_touch(area + block * BLOCK_BYTES, PAGE_BYTES);
	if (huge_now() > huge_kib)
		huge_kib = huge_now();
	page = area + 100 * PAGE_BYTES;
	munmap(page, PAGE_BYTES);
	mprotect(page + BLOCK_BYTES, PAGE_BYTES, PROT_READ);
	madvise(page + 2 * BLOCK_BYTES, PAGE_BYTES, MADV_DONTNEED);
	mremap(page + 3 * BLOCK_BYTES, PAGE_BYTES, PAGE_BYTES, MREMAP_MAYMOVE | MREMAP_FIXED, page);
	for (int block = 0; block < HUGE_BLOCKS; block++)
		area_touch(area + block * BLOCK_BYTES, PAGE_BYTES);
	munmap(area, HUGE_BLOCKS * BLOCK_BYTES);
}

/* Small pages, collapsed into a huge one; moved as a whole, and gone. */
static void collapse(void)
{
	char *area = area_reserve(1), *elsewhere = area_reserve(1);

	area_map(area, BLOCK_BYTES);
	madvise(area, BLOCK_BYTES, MADV_NOHUGEPAGE);
	area_touch(area, BLOCK_BYTES);
	madvise(area, BLOCK_BYTES, MADV_HUGEPAGE);
	if (!madvise(area, BLOCK_BYTES, MADV_COLLAPSE))
		collapsed++;
	if (mremap(area, BLOCK_BYTES, BLOCK_BYTES, MREMAP_MAYMOVE | MREMAP_FIXED, elsewhere) !=
	    elsewhere)
		die("mremap of a block");
	area_touch(elsewhere, BLOCK_BYTES);
	munmap(elsewhere, BLOCK_BYTES);
}

static void *wait_for_all(void *barrier)
{
	pthread_barrier_wait(barrier);
	return NULL;
}

/* Kernel stacks: as many at once as the kernel does not keep in its cache. */
static void start_threads(void)
{
	pthread_t threads[THREADS];
	pthread_barrier_t barrier;

	pthread_barrier_init(&barrier, NULL, THREADS);
	for (int i = 0; i < THREADS; i++)
		if ((errno = pthread_create(&threads[i], NULL, wait_for_all, &barrier)))
			die("pthread_create");
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	pthread_barrier_destroy(&barrier);
}

/* Array maps of BPF above 32 KiB live in vmalloc space. */
static void vmalloc(struct rng *rng)
{
	int maps[BPF_MAPS];

	for (int i = 0; i < BPF_MAPS; i++) {
		union bpf_attr attr = { 0 };

		attr.map_type = BPF_MAP_TYPE_ARRAY;
		attr.key_size = 4;
		attr.value_size = PAGE_BYTES;
		attr.max_entries = 16 + rng_below(rng, 64);
		maps[i] = (int)syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof(attr));
		bpf_maps += maps[i] >= 0;
	}
	for (int i = 0; i < BPF_MAPS; i++)
		if (maps[i] >= 0)
			close(maps[i]);
}

static void spread(void)
{
	char *memory = spread_map(SPREAD_TABLES);

	spread_unmap(memory, SPREAD_TABLES);
}

/* Kernels with little memory start with huge pages off. */
static void allow_huge(void)
{
	int file = open("/sys/kernel/mm/transparent_hugepage/enabled", O_RDWR | O_CLOEXEC);
	char now[64] = "";

	if (file < 0)
		return;
	if (read(file, now, sizeof(now) - 1) > 0 && strstr(now, "[never]") &&
	    pwrite(file, "madvise", 7, 0) != 7)
		say("note churn: huge pages stay off: %s", strerror(errno));
	close(file);
}

static uint64_t table_kib(pid_t process)
{
	unsigned long kib = 0;
	char path[32], line[128];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", process);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "VmPTE: %lu kB", &kib) == 1)
			break;
	if (file)
		fclose(file);
	return kib;
}

/* Leave a child behind that holds @tables tables until the machine ends. */
static void hold(unsigned int tables)
{
	int ready[2];
	pid_t holder;
	char byte;

	if (pipe2(ready, O_CLOEXEC))
		die("pipe");
	holder = fork();
	if (holder == 0) {
		setsid(); /* out of reach of the agent's clearing up */
		prctl(PR_SET_NAME, "churn-hold");
		spread_map(tables);
		if (write(ready[1], "r", 1) != 1)
			_exit(STATUS_BROKEN);
		for (;;)
			pause();
	}
	close(ready[1]);
	if (holder < 0 || read(ready[0], &byte, 1) != 1)
		die("no holder");
	close(ready[0]);
	report((uint64_t)holder, "hold_pid");
	report(table_kib(holder) / 4, "hold_tables");
	report((uint64_t)tables * (SPREAD_WRITTEN + SPREAD_READ), "hold_entries");
}

static int run(const struct job *job)
{
	struct rng rng = { job->seed };
	unsigned int tables = job_option(job, "tables");

	allow_huge();
	for (uint64_t iteration = 1; iteration <= job->iterations; iteration++) {
		mark_iter(iteration);
		execute(&rng);
		share();
		split_huge();
		collapse();
		start_threads();
		vmalloc(&rng);
		spread();
	}
	report(huge_kib, "huge_kib");
	report(collapsed, "collapsed");
	report(bpf_maps, "bpf_maps");
	if (tables)
		hold(tables);
	return STATUS_OK;
}

const struct workload churn = {
	.name = "churn",
	.headline = "page tables come and go in every way, and many stay",
	.run = run,
	.options = { { "tables", 640, 0, 8192 } },
};
