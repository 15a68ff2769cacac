// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Race: one thread does direct IO with the first bytes of a page, a second one writes to its last
 * bytes, and a third one forks.
 *
 * fork write-protects the page, the writer's next store copies it, and IO that looked the page up
 * before goes on with the old one: what was read from the disk is lost. A page that is pinned
 * (FOLL_PIN) is copied for the child instead, and stays the parent's; one that is only referenced
 * (FOLL_GET: O_DIRECT before 6.6) is not. The page of a private mapping, so that fork matters.
 *
 * Two more: a direct write under a mapping of the same bytes, which must not go on to show the old
 * ones; and a direct write from a page that is still shared with a child, so that the look-up must
 * unshare it (FAULT_FLAG_UNSHARE) before it pins it.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arch.h"
#include "area.h"
#include "channel.h"
#include "marks.h"
#include "partner.h"
#include "ring.h"
#include "scratch.h"
#include "workload.h"

enum { SECTOR = 512, LAST_WORD = 4096 / 8 - 1, CHILD_PATIENCE = 100000 };
enum op { READ, WRITE, FIXED_READ, FIXED_WRITE, UNDER_MAPPING, UNSHARE, OPS };

struct stage {
	volatile uint64_t *page; /* of the IO; the disk's, for UNDER_MAPPING */
	uint64_t *bounce;	 /* what the disk is set up and checked with; shared memory */
	struct partner io;
	struct thread writer;
	struct ring ring;
	uint64_t op, patience;
	int disk;
	_Atomic uint64_t forked, stores;
	_Atomic bool stop;
};

static void transfer(const struct stage *stage, volatile void *memory, bool write)
{
	ssize_t moved = write ? pwrite(stage->disk, (void *)memory, SECTOR, 0)
			      : pread(stage->disk, (void *)memory, SECTOR, 0);

	if (moved != SECTOR)
		die("direct %s of %d bytes: %zd", write ? "write" : "read", SECTOR, moved);
}

/* What is on the disk. */
static void set_disk(const struct stage *stage, uint64_t value)
{
	stage->bounce[0] = value;
	transfer(stage, stage->bounce, true);
}

static uint64_t get_disk(const struct stage *stage)
{
	stage->bounce[0] = 0;
	transfer(stage, stage->bounce, false);
	return stage->bounce[0];
}

/* A buffer that is pinned before the fork, and used after it. */
static void transfer_fixed(struct stage *stage, uint64_t iteration, bool write)
{
	ring_pin(&stage->ring, (void *)stage->page, PAGE_BYTES);
	while (atomic_load(&stage->forked) < iteration)
		cpu_relax();
	if (write)
		stage->page[0] = iteration;
	ring_transfer(&stage->ring, stage->disk, (void *)stage->page, SECTOR, write);
	ring_unpin(&stage->ring);
}

static void do_io(void *argument, uint64_t iteration)
{
	struct stage *stage = argument;
	bool reads = stage->op == READ || stage->op == FIXED_READ;

	if (stage->op == FIXED_READ || stage->op == FIXED_WRITE) {
		transfer_fixed(stage, iteration, !reads);
	} else if (stage->op == UNDER_MAPPING) {
		stage->bounce[0] = iteration;
		transfer(stage, stage->bounce, true);
	} else {
		transfer(stage, stage->page, !reads);
	}
}

/* Writes, or looks, where the page is the disk's. */
static void writer_main(void *argument)
{
	struct stage *stage = argument;

	while (!atomic_load(&stage->stop)) {
		if (stage->op == UNDER_MAPPING)
			(void)stage->page[0];
		else
			stage->page[LAST_WORD] = atomic_load(&stage->stores) / 1024 + 1;
		atomic_fetch_add(&stage->stores, 1);
		cpu_relax();
	}
}

/* Loads only; lives until the writer has stored again, or for a while. */
__attribute__((noreturn)) static void child(const struct stage *stage)
{
	uint64_t before = atomic_load(&stage->stores);

	for (int i = 0; i < CHILD_PATIENCE && atomic_load(&stage->stores) < before + 2; i++)
		cpu_relax();
	_exit(0);
}

static void reap(pid_t pid)
{
	if (pid < 0)
		die("clone");
	while (waitpid(pid, NULL, 0) < 0)
		if (errno != EINTR)
			die("waitpid");
	errno = 0;
}

/* As in fork_cow: the caller sleeps until the child is gone, because they share its stack. */
static void fork_once(const struct stage *stage)
{
	long pid = syscall(SYS_clone, CLONE_VFORK | SIGCHLD, 0, 0, 0, 0);

	if (pid == 0)
		child(stage);
	reap((pid_t)pid);
}

static pid_t fork_and_keep(void)
{
	pid_t pid = fork();

	while (pid == 0)
		pause();
	return pid;
}

static void race_io(struct stage *stage, uint64_t iteration)
{
	partner_ask(&stage->io, iteration);
	partner_leave(&stage->io, stage->patience);
	if (stage->op < UNDER_MAPPING)
		fork_once(stage);
	atomic_store(&stage->forked, iteration);
	partner_wait(&stage->io);
}

/* Returns whether the data is where it must be. */
static bool step(struct stage *stage, uint64_t iteration)
{
	bool reads = stage->op == READ || stage->op == FIXED_READ;
	pid_t kept = 0;

	if (reads)
		set_disk(stage, iteration);
	if (stage->op != UNDER_MAPPING)
		stage->page[0] = reads || stage->op == FIXED_WRITE ? 0 : iteration;
	if (stage->op == UNSHARE)
		kept = fork_and_keep();
	race_io(stage, iteration);
	if (kept) {
		kill(kept, SIGKILL);
		reap(kept);
	}
	return (reads || stage->op == UNDER_MAPPING ? stage->page[0] : get_disk(stage)) ==
	       iteration;
}

static void map_page(struct stage *stage)
{
	char *at = area_window(area_create(1));

	if (stage->op == UNDER_MAPPING &&
	    mmap(at, PAGE_BYTES, PROT_READ, MAP_SHARED | MAP_FIXED, stage->disk, 0) != at)
		die("mmap of the disk");
	stage->page = (volatile uint64_t *)at;
	mark_range(0, at, PAGE_BYTES);
}

static int run(const struct job *job)
{
	struct stage *stage = area_shared(sizeof(*stage));
	uint64_t lost = 0;

	area_small_pages();
	thread_become("mapper", 0);
	stage->op = job_option(job, "op");
	stage->patience = job_option(job, "patience");
	stage->disk = scratch_open(O_DIRECT);
	stage->bounce = area_shared(PAGE_BYTES);
	map_page(stage);
	if (stage->op == FIXED_READ || stage->op == FIXED_WRITE)
		ring_open(&stage->ring);
	partner_start(&stage->io, "io", 0, do_io, stage);
	thread_start(&stage->writer, "writer", thread_observer_cpu(1), writer_main, stage);
	for (uint64_t iteration = 1; iteration <= job->iterations; iteration++) {
		mark_iter(iteration);
		lost += !step(stage, iteration);
	}
	partner_stop(&stage->io);
	atomic_store(&stage->stop, true);
	thread_join(&stage->writer);
	mark_unrange(0);
	report(lost, "lost");
	if (lost)
		say("note direct: %llu of %llu transfers lost their data", (unsigned long long)lost,
		    (unsigned long long)job->iterations);
	return lost ? STATUS_IMPOSSIBLE : STATUS_OK;
}

const struct workload direct = {
	.name = "direct",
	.headline = "direct IO with a page that a fork write-protects, or that is mapped or shared",
	.run = run,
	.options = {
		{ "op", READ, 0, OPS - 1 },
		{ "patience", 0, 0, 1000000000 },
	},
};
