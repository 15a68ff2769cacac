/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Delays on purpose: a vCPU that reaches a point of the plan stands still in the
 * plugin's callback for a bounded time, while the others run.
 *
 * Only for MTTCG, where each vCPU has a thread of its own. A vCPU in a callback
 * counts as running, so whatever needs all vCPUs to stop (start_exclusive() in
 * cpu-common.c: every broadcast TLBI of arm64) waits for the delay to end, and the
 * guest with it. Hence delays are short.
 */
#ifndef SD_DELAY_H
#define SD_DELAY_H

#include "sd.h"

enum { SD_MAX_DELAYS = 1024, SD_MAX_CHANGES = 64, SD_MAX_OCTAVES = 32 };
enum { SD_MILLION = 1000000, SD_MAX_DELAY_NS = 100000000 };

/* What an entry of level 1 allows a CPU, as bits of what a point speaks of. */
enum sd_entry { SD_ENTRY_NONE = 1, SD_ENTRY_READONLY = 2, SD_ENTRY_WRITABLE = 4 };

struct sd_delay_point {
	uint64_t pc; /* before the instruction there; 0: a place that a flag below names */
	uint64_t min, limit;
	uint32_t chance; /* in a million */
	uint16_t id;
	uint8_t octaves;
	uint8_t old, new; /* bits of enum sd_entry */
	bool root;	  /* after an instruction that has changed the root register */
	bool window;	  /* only entries of what the workload declared */
	bool ranked;	  /* @min for each vCPU that goes first */
};

/* False when there are too many. */
bool sd_delay_add(const struct sd_delay_point *p);
/* From the vCPU's @nth arrival at ranked points on, @rank others go first. */
bool sd_delay_rank(uint64_t cpu, uint64_t nth, uint64_t rank);
void sd_delay_seed(uint64_t seed);
/* Everything is there: put the points in order. */
void sd_delays_seal(void);
void sd_delay_move(void);
bool sd_delays_any(void);

/* The n-th point at @pc, NULL when there are no more. */
const struct sd_delay_point *sd_delay_at(uint64_t pc, unsigned n);
/* The vCPU is about to execute the instruction of a point. */
void sd_delay_reached(unsigned cpu, const struct sd_delay_point *p);
/* The vCPU has changed an entry; it is delayed once all that its store did is told. */
void sd_delay_entry(unsigned cpu, uint64_t pc, uint64_t va, uint64_t old, uint64_t new);
void sd_delay_after_store(unsigned cpu);
/* Whether anybody asked for delays behind loads of roots. */
bool sd_delay_roots(void);
/* The vCPU is about to load another root, and is then at the next instruction. */
void sd_delay_root(unsigned cpu);
void sd_delay_after_root(unsigned cpu, uint64_t pc);
/* A phase of the guest begins or ends: outside of all phases nobody is delayed. */
void sd_delay_phase(int by);

#endif
