/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A partner: a second thread that acts once in each iteration, when it is asked.
 *
 * It goes by its name only while it acts, and is called idler otherwise: so a race that holds it
 * by its name finds it at this act, and at none of its other faults and calls.
 */
#ifndef PARTNER_H
#define PARTNER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "thread.h"

typedef void partner_act(void *stage, uint64_t iteration);

/* In memory of area_shared. */
struct partner {
	struct thread thread;
	const char *name;
	partner_act *act;
	void *stage;
	_Atomic uint64_t asked, begun, done; /* iterations */
	_Atomic bool stop;
};

/* Start it on the CPU of observer @index. */
void partner_start(struct partner *partner, const char *name, int index, partner_act *act,
		   void *stage);
void partner_stop(struct partner *partner);

/* Have it act for @iteration, and wait until it has begun. */
void partner_ask(struct partner *partner, uint64_t iteration);

/* Wait until it is done, but not longer than @patience rounds. */
void partner_leave(struct partner *partner, uint64_t patience);

/* Wait until it is done. */
void partner_wait(struct partner *partner);

#endif
