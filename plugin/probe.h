/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SD_PROBE_H
#define SD_PROBE_H

#include "pages.h"
#include "watch.h"

enum sd_action {
	SD_ACT_EMIT,  /* PROBE */
	SD_ACT_ENTER, /* ENTER, EXIT: a function */
	SD_ACT_EXIT,
	SD_ACT_TAIL, /* EXIT, by a jump to another function */
	SD_ACT_WATCH,
	SD_ACT_UNWATCH,
	SD_ACT_FORGET_ROOT,
	SD_ACT_KEEP,	    /* a register, until the call whose stack pointer is named ends */
	SD_ACT_FREED,	    /* frames: by the first one's structure, and the order of the block */
	SD_ACT_FREED_ARRAY, /* by structures that an array points to */
	SD_ACT_FREED_LIST,  /* by structures on a list */
	SD_ACT_ALLOCATED,
	SD_ACT_ALLOCATED_ARRAY
};
enum { SD_MAX_ACTIONS = 4, SD_MAX_CAPTURES = 8, SD_MAX_WORDS = 64 };

/* A register, or memory at a register plus an offset. */
struct sd_capture {
	uint8_t reg, size; /* size 0: the register itself */
	int64_t offset;
};

enum sd_from { SD_FROM_NUMBER, SD_FROM_REG, SD_FROM_KEPT };

/* A word: a number, a register, or what was kept under the stack pointer in @reg. */
struct sd_operand {
	uint8_t from, reg;
	uint64_t number;
};

struct sd_probe_point {
	uint64_t pc;
	uint16_t id;
	uint8_t nactions, ncaptures;
	struct {
		uint8_t what, set, reg;
		struct sd_operand word, other;
	} action[SD_MAX_ACTIONS];
	struct sd_capture capture[SD_MAX_CAPTURES];
};

void sd_probe_add(const struct sd_probe_point *p);
/* False when there are too many. */
bool sd_probe_word(const struct sd_word *w);
/* All probes are there: put them in order, so that they can be found. */
void sd_probes_seal(void);
/* The n-th probe at @pc, NULL when there are no more. */
const struct sd_probe_point *sd_probe_at(uint64_t pc, unsigned n);
/* Watch the words of a set in an object that was there before recording began. */
void sd_probe_watch(unsigned cpu, unsigned set, uint64_t base);
/* Put every probe where the guest has what it was set on. */
void sd_probe_move(void);
void sd_probe_hit(unsigned cpu, const struct sd_probe_point *p);

#endif
