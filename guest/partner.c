// SPDX-License-Identifier: GPL-2.0-or-later
#include "partner.h"

#include <sys/prctl.h>

#include "arch.h"

enum { RELAX_EVERY = 256 };

static const char idler[] = "idler";

static void partner_main(void *argument)
{
	struct partner *partner = argument;
	uint64_t iteration = 0;

	while (!atomic_load(&partner->stop)) {
		if (atomic_load(&partner->asked) > iteration) {
			prctl(PR_SET_NAME, partner->name);
			atomic_store(&partner->begun, ++iteration);
			partner->act(partner->stage, iteration);
			prctl(PR_SET_NAME, idler);
			atomic_store(&partner->done, iteration);
		}
		cpu_relax();
	}
}

void partner_start(struct partner *partner, const char *name, int index, partner_act *act,
		   void *stage)
{
	partner->name = name;
	partner->act = act;
	partner->stage = stage;
	thread_start(&partner->thread, idler, thread_observer_cpu(index), partner_main, partner);
}

void partner_stop(struct partner *partner)
{
	atomic_store(&partner->stop, true);
	thread_join(&partner->thread);
}

void partner_ask(struct partner *partner, uint64_t iteration)
{
	atomic_store(&partner->asked, iteration);
	while (atomic_load(&partner->begun) < iteration)
		cpu_relax();
}

void partner_leave(struct partner *partner, uint64_t patience)
{
	uint64_t asked = atomic_load(&partner->asked);

	/* Seldom: an emulator takes its time for cpu_relax, and patience is for a busy host. */
	while (patience-- && atomic_load(&partner->done) < asked)
		if (patience % RELAX_EVERY == 0)
			cpu_relax();
}

void partner_wait(struct partner *partner)
{
	while (atomic_load(&partner->done) < atomic_load(&partner->asked))
		cpu_relax();
}
