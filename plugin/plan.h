/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SD_PLAN_H
#define SD_PLAN_H

#include "anchor.h"
#include "probe.h"

enum { SD_MAX_TERM = 4, SD_MAX_FOLLOW = 2, SD_MAX_STATIC = 32 };

/* A sum of numbers and of words of kernel memory, read when recording starts. */
struct sd_term {
	unsigned n;
	struct {
		bool minus, deref;
		uint8_t shift; /* of the word read, arithmetically to the right */
		uint8_t nfollow;
		uint64_t follow[SD_MAX_FOLLOW]; /* what was read is a VA: read at this offset */
		uint64_t mask;			/* of the word read, 0: all of it */
		uint64_t value;
	} part[SD_MAX_TERM];
};

struct sd_static_watch {
	struct sd_word word; /* offset: VA, or offset below the CPU's base */
	uint64_t base, array;
	bool percpu;
};

struct sd_plan {
	uint64_t schema, ram_base, ram_size, start, kernel_root, slow_table, percpu;
	struct sd_term linear_va, linear_pa, image_pa;
	struct sd_term pages; /* VA of the structure of the frame at PA 0 */
	uint64_t page_bytes;  /* of a structure; 0: nobody asked */
	uint64_t image_va, image_size;
	struct sd_anchor anchor; /* n is 0 when the kernel runs where it was linked */
	struct sd_static_watch watch[SD_MAX_STATIC];
	unsigned nwatches;
	uint8_t stack; /* binary logarithm of the bytes of a kernel stack */
	bool observe, single;
	uint64_t slide, drop_store, delay_us;
	uint64_t live_ms; /* when the files are read meanwhile: how old records may get, else 0 */
};

/* Read the plan; false with one line on stderr. Finds sd_arch on the way. */
bool sd_plan_read(const char *path, const char *target, struct sd_plan *ret);
/* The kernel was found to run @slide bytes above where it was linked: so does all in the plan. */
void sd_plan_move(struct sd_plan *p, uint64_t slide);
/* Of the kernel where it runs: after sd_plan_move. */
bool sd_term_eval(unsigned cpu, const struct sd_term *t, uint64_t *ret);

#endif
