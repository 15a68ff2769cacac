// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Race: one thread unmaps a block and its page table while others have the kernel walk through it.
 *
 * A futex that other processes may share is known by its page, which get_user_pages_fast() looks up
 * with interrupts off and no lock: the table may be freed only behind such a walk.
 */
#include <errno.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "arch.h"
#include "area.h"
#include "crew.h"

enum { PAUSE = 1024 }; /* between two walks, of which each is a dozen records */

struct stage {
	struct crew crew;
	char *block;
	unsigned int pages;
};

static uint32_t *word(const struct stage *stage, unsigned int page)
{
	return (uint32_t *)(area_window(stage->block) + page * PAGE_BYTES);
}

static void wake(struct observer *observer)
{
	struct stage *stage = observer->crew->stage;

	for (unsigned int page = 0; page < stage->pages; page++) {
		if (syscall(SYS_futex, word(stage, page), FUTEX_WAKE, 1, NULL, NULL, 0) >= 0)
			observer->loads++;
		else if (errno == EFAULT)
			observer->faults++;
		else
			die("futex");
		for (int pause = 0; pause < PAUSE; pause++)
			cpu_relax();
	}
}

static void drop_table(struct crew *crew, uint64_t iteration)
{
	struct stage *stage = crew->stage;

	(void)iteration;
	area_touch((char *)word(stage, 0), stage->pages * PAGE_BYTES);
	crew->exercised += crew_wait(crew);
	if (munmap(stage->block, BLOCK_BYTES))
		die("munmap");
	crew_jitter(crew);
	area_map(stage->block, BLOCK_BYTES);
}

static int run(const struct job *job)
{
	struct stage *stage = area_shared(sizeof(*stage));

	crew_init(&stage->crew, job, stage, drop_table, wake);
	stage->block = area_create(1);
	stage->pages = (unsigned int)job_option(job, "pages");
	return crew_run(&stage->crew, job);
}

const struct workload table_walk = {
	.name = "table_walk",
	.headline = "munmap takes page tables away from threads whose kernel walks them unlocked",
	.run = run,
	.options = { CREW_OPTIONS },
};
