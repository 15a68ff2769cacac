// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Race: one thread forks while others write.
 *
 * fork write-protects the parent's pages and must flush before it lets the mmap lock go. A
 * sibling that still writes through an old writable translation changes pages which the child
 * shares by then: the child reads them again and again and must see the same values.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crew.h"
#include "marks.h"

enum { CHILD_ROUNDS = 4, CHILD_PAUSE = 64 };

struct stage {
	struct crew crew;
	char *base;
	unsigned int pages;
	uint64_t changed; /* children that saw it */
};

static volatile uint64_t *word(const struct stage *stage, unsigned int page)
{
	return (volatile uint64_t *)(stage->base + page * PAGE_BYTES);
}

/* The pages are dealt out: what one CPU knows of a page, no other CPU puts right by writing. */
static void write_pages(struct observer *observer)
{
	struct stage *stage = observer->crew->stage;
	unsigned int step = observer->crew->observer_count;

	for (unsigned int page = observer->index; page < stage->pages; page += step)
		*word(stage, page) = crew_value(++observer->stores);
}

static uint64_t sum(const struct stage *stage)
{
	uint64_t total = 0;

	for (unsigned int page = 0; page < stage->pages; page++)
		total += (page + 1) * *word(stage, page);
	return total;
}

/* The child of a process with threads: loads and system calls only. */
__attribute__((noreturn)) static void child(const struct stage *stage)
{
	uint64_t snapshot = sum(stage);
	bool changed = false;

	for (int round = 0; round < CHILD_ROUNDS && !changed; round++) {
		for (int pause = 0; pause < CHILD_PAUSE; pause++)
			cpu_relax();
		changed = sum(stage) != snapshot;
	}
	_exit(changed);
}

static void fork_once(struct crew *crew, uint64_t iteration)
{
	struct stage *stage = crew->stage;
	int status;
	long pid;

	(void)iteration;
	crew->exercised += crew_wait(crew);
	/*
	 * A fork whose caller sleeps until the child is gone: so the one stack that both use stays
	 * as it was, even when this CPU could still write to it through an old translation.
	 */
	pid = syscall(SYS_clone, CLONE_VFORK | SIGCHLD, 0, 0, 0, 0);
	if (pid == 0)
		child(stage);
	if (pid < 0)
		die("clone");
	while (waitpid((pid_t)pid, &status, 0) < 0)
		if (errno != EINTR)
			die("waitpid");
	errno = 0;
	if (!WIFEXITED(status))
		die("a child was killed by signal %d", WTERMSIG(status));
	stage->changed += WEXITSTATUS(status);
}

static int run(const struct job *job)
{
	struct stage *stage = area_shared(sizeof(*stage));
	int status;

	crew_init(&stage->crew, job, stage, fork_once, write_pages);
	stage->pages = job_option(job, "pages");
	stage->base = area_window(area_create(1));
	mark_range(0, stage->base, stage->pages * PAGE_BYTES);
	status = crew_run(&stage->crew, job);
	mark_unrange(0);
	report(stage->changed, "changed_after_fork");
	return status;
}

const struct workload fork_cow = {
	.name = "fork_cow",
	.headline = "fork write-protects pages that other threads write",
	.run = run,
	.options = { CREW_OPTIONS },
};
