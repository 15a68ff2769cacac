/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SD_LIVE_H
#define SD_LIVE_H

#include "sd.h"

/* Have everything that was recorded in the files after @ms milliseconds, about. */
void sd_live_start(qemu_plugin_id_t id, unsigned ms);
/* Before the files are completed; only then may another thread touch the buffers. */
void sd_live_stop(void);

/* The buffer becomes the vCPU's, which waits while it is being written. */
void sd_live_own(struct sd_cpu *c);
/* It is nobody's until the vCPU's next record; whoever has just recorded for the vCPU may say so. */
void sd_live_disown(struct sd_cpu *c);

extern bool sd_live;
extern uint64_t sd_live_tide; /* moves when running vCPUs are to write what they have */

/* Whether the vCPU is to write its buffer now; it owns the buffer from here on. */
static inline bool sd_live_due(struct sd_cpu *c)
{
	uint64_t tide;

	if (!sd_live)
		return false;
	if (!c->owns)
		sd_live_own(c);
	tide = __atomic_load_n(&sd_live_tide, __ATOMIC_RELAXED);
	if (c->tide == tide)
		return false;
	c->tide = tide;
	return true;
}

#endif
