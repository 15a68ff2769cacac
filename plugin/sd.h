/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Shared state of the plugin.
 *
 * The plugin is mechanism only: it knows instructions, physical pages, watched
 * words and probe addresses. It knows no kernel symbol, no struct offset and no
 * rule; those come in a plan (plan.c). What it sees goes to one trace file per
 * vCPU (trace.c), each written by its own vCPU thread, so the hot path takes no
 * lock and makes no allocation.
 */
#ifndef SD_H
#define SD_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <qemu-plugin.h>

#include "schema.h"

enum { SD_MAX_CPUS = 64, SD_PAGE_SHIFT = 12, SD_PAGE_SIZE = 4096, SD_SLOTS = 512 };
enum { SD_TRACE_RECORDS = 16384, SD_OBS_SETS = 256, SD_OBS_WAYS = 4, SD_KINDS = 32 };

/* What an atomic instruction does with the values its callbacks report. */
enum sd_rmw {
	SD_RMW_NONE,
	SD_RMW_XCHG,
	SD_RMW_CMPXCHG,
	SD_RMW_STXR, /* cmpxchg against what the last exclusive load saw */
	SD_RMW_LDXR, /* the exclusive load itself */
	SD_RMW_FETCH_ADD,
	SD_RMW_FETCH_AND,
	SD_RMW_FETCH_OR,
	SD_RMW_FETCH_XOR,
	SD_RMW_ADD_FETCH,
	SD_RMW_AND_FETCH,
	SD_RMW_OR_FETCH,
	SD_RMW_XOR_FETCH,
	SD_RMW_OTHER, /* what is reported is not followed: memory says what was written */
};

/* The last thing an observed word looked like to one vCPU. */
struct sd_obs {
	uint64_t va, pa, value, epoch, count;
	uint8_t size, flags;
};

struct sd_cpu {
	struct sd_event *buf;
	size_t fill;
	int fd;
	bool full; /* a write has failed */
	bool owns; /* live.h: the vCPU's own idea of who the owner is */
	int owner;
	uint64_t tide; /* the last one that it has written for */
	uint64_t written, lost, kinds[SD_KINDS];
	uint64_t reread_tables, reread_slots;
	/* What the read half of an atomic saw, until its write half comes. */
	uint64_t rmw_pa, rmw_value;
	bool rmw_valid;
	uint64_t excl_pa, excl_value;
	GByteArray *scratch;
	struct sd_obs obs[SD_OBS_SETS][SD_OBS_WAYS];
} __attribute__((aligned(128)));

extern struct sd_cpu sd_cpus[SD_MAX_CPUS];
extern unsigned sd_ncpus;
extern bool sd_armed;	      /* set once, when the plan's start address is reached */
extern bool sd_user_seen;     /* a vCPU has entered user mode */
extern uint64_t sd_obs_epoch; /* moves when an observed access may mean something new */

static inline bool sd_is_armed(void)
{
	return __atomic_load_n(&sd_armed, __ATOMIC_ACQUIRE);
}

static inline uint64_t sd_mask(unsigned size)
{
	return size >= 8 ? ~0ull : (1ull << (size * 8)) - 1;
}

/*
 * Call it after sd_emit: an access that finds the new epoch is then numbered behind
 * the event. The other way round an access could slip in between, and the equal
 * ones behind the event would only count.
 */
static inline void sd_epoch_bump(void)
{
	__atomic_fetch_add(&sd_obs_epoch, 1, __ATOMIC_RELAXED);
}

#endif
