// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Race: a process forks while a device may write to its pages.
 *
 * Pages that are fixed buffers of io_uring are pinned: the kernel writes to their frames, whatever
 * happens to the addresses. If fork made them read-only like any other page, the parent's next store
 * would give it a copy, and what is read into the buffer would go to the page that the child has.
 * One round: the pages are pinned, the parent forks and writes, then a file is read into the
 * buffer; the parent must find all of it.
 */
#include <errno.h>
#include <linux/io_uring.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "area.h"
#include "marks.h"
#include "rng.h"
#include "thread.h"
#include "workload.h"

enum { PAGES = 8, MAX_PAGES = 64 };

struct ring {
	int fd;
	uint32_t *head, *tail, *mask, *done_head, *done_tail, *done_mask;
	struct io_uring_sqe *entries;
	struct io_uring_cqe *done;
	uint32_t *index;
};

struct stage {
	struct ring ring;
	char *base;
	unsigned int pages;
	int file, go[2];
	uint64_t *source; /* what is in the file */
	uint64_t lost;
};

static void *map_ring(int fd, size_t bytes, uint64_t what)
{
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd,
			(off_t)what);

	if (at == MAP_FAILED)
		die("map a ring");
	return at;
}

static void ring_open(struct ring *ring)
{
	static struct io_uring_params p;
	char *submit, *done;

	ring->fd = (int)syscall(SYS_io_uring_setup, 1, &p);
	if (ring->fd < 0)
		die("io_uring_setup");
	submit = map_ring(ring->fd, p.sq_off.array + p.sq_entries * sizeof(uint32_t),
			  IORING_OFF_SQ_RING);
	done = map_ring(ring->fd, p.cq_off.cqes + p.cq_entries * sizeof(*ring->done),
			IORING_OFF_CQ_RING);
	ring->entries = map_ring(ring->fd, p.sq_entries * sizeof(*ring->entries), IORING_OFF_SQES);
	ring->head = (uint32_t *)(submit + p.sq_off.head);
	ring->tail = (uint32_t *)(submit + p.sq_off.tail);
	ring->mask = (uint32_t *)(submit + p.sq_off.ring_mask);
	ring->index = (uint32_t *)(submit + p.sq_off.array);
	ring->done_head = (uint32_t *)(done + p.cq_off.head);
	ring->done_tail = (uint32_t *)(done + p.cq_off.tail);
	ring->done_mask = (uint32_t *)(done + p.cq_off.ring_mask);
	ring->done = (struct io_uring_cqe *)(done + p.cq_off.cqes);
}

/* Read the whole file into the fixed buffer; the result of the operation. */
static int ring_read(struct stage *stage)
{
	struct ring *ring = &stage->ring;
	uint32_t tail = *ring->tail, slot = tail & *ring->mask;
	int result;

	ring->entries[slot] = (struct io_uring_sqe){
		.opcode = IORING_OP_READ_FIXED,
		.fd = stage->file,
		.addr = (uint64_t)stage->base,
		.len = (uint32_t)(stage->pages * PAGE_BYTES),
	};
	ring->index[slot] = slot;
	__atomic_store_n(ring->tail, tail + 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, ring->fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) != 1)
		die("io_uring_enter");
	if (__atomic_load_n(ring->done_tail, __ATOMIC_ACQUIRE) == *ring->done_head)
		die("a read that is not done");
	result = ring->done[*ring->done_head & *ring->done_mask].res;
	__atomic_store_n(ring->done_head, *ring->done_head + 1, __ATOMIC_RELEASE);
	return result;
}

static void pin(struct stage *stage)
{
	struct iovec fixed = { stage->base, stage->pages * PAGE_BYTES };

	if (syscall(SYS_io_uring_register, stage->ring.fd, IORING_REGISTER_BUFFERS, &fixed, 1))
		die("register buffers");
}

static void unpin(struct stage *stage)
{
	if (syscall(SYS_io_uring_register, stage->ring.fd, IORING_UNREGISTER_BUFFERS, NULL, 0))
		die("unregister buffers");
}

static uint64_t *word(const struct stage *stage, unsigned int page)
{
	return (uint64_t *)(stage->base + page * PAGE_BYTES);
}

/* A child that keeps its pages until the parent closes the pipe. */
static pid_t fork_one(const struct stage *stage)
{
	long pid = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	char byte;

	if (pid < 0)
		die("clone");
	if (pid == 0) {
		syscall(SYS_close, stage->go[1]);
		syscall(SYS_read, stage->go[0], &byte, 1);
		syscall(SYS_exit_group, 0);
	}
	return (pid_t)pid;
}

static void reap(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			die("waitpid");
	errno = 0;
	if (!WIFEXITED(status))
		die("a child was killed by signal %d", WTERMSIG(status));
}

static void one_round(struct stage *stage, uint64_t iteration)
{
	pid_t child;

	if (pipe(stage->go))
		die("pipe");
	for (unsigned int page = 0; page < stage->pages; page++) {
		stage->source[page * PAGE_BYTES / sizeof(uint64_t)] = 2 * iteration + 1;
		*word(stage, page) = 2 * iteration;
	}
	pin(stage);
	child = fork_one(stage);
	for (unsigned int page = 0; page < stage->pages; page++)
		*(volatile uint64_t *)word(stage, page) =
			2 * iteration; /* a copy of it, if shared */
	if (ring_read(stage) != (int)(stage->pages * PAGE_BYTES))
		die("a short read");
	for (unsigned int page = 0; page < stage->pages; page++)
		stage->lost += *(volatile uint64_t *)word(stage, page) != 2 * iteration + 1;
	unpin(stage);
	close(stage->go[0]);
	close(stage->go[1]);
	reap(child);
}

static int run(const struct job *job)
{
	static struct stage stage;
	char *source;

	area_small_pages();
	thread_become("mapper", 0);
	stage.pages = (unsigned int)job_option(job, "pages");
	stage.base = area_window(area_create(1));
	stage.file = area_memfd(stage.pages * PAGE_BYTES, &source);
	stage.source = (uint64_t *)source;
	area_touch(stage.base, stage.pages * PAGE_BYTES);
	ring_open(&stage.ring);
	for (uint64_t iteration = 1; iteration <= job->iterations; iteration++) {
		mark_iter(iteration);
		one_round(&stage, iteration);
	}
	report(stage.lost, "lost");
	return stage.lost ? STATUS_IMPOSSIBLE : STATUS_OK;
}

const struct workload pinned_fork = {
	.name = "pinned_fork",
	.headline = "fork must leave pages alone that io_uring has pinned",
	.run = run,
	.options = { { "pages", PAGES, 1, MAX_PAGES } },
};
