/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Marks: one instruction that does nothing on the CPU and is seen by the plugin.
 *
 * The numbers are those of shootdown.trace.schema.Mark (a test compares them). Arguments
 * are evaluated before the instruction; no memory access moves across it.
 */
#ifndef MARKS_H
#define MARKS_H

#include <stdint.h>

#include "arch.h"

enum mark {
	MARK_THREAD = 1,
	MARK_BEGIN = 2,
	MARK_END = 3,
	MARK_RANGE = 4,
	MARK_UNRANGE = 5,
	MARK_ITER = 6,
	MARK_NOTE = 7,
};

/* Up to 16 characters in two little-endian words, NUL padded. */
struct mark_name {
	uint64_t low, high;
};

static inline struct mark_name mark_pack(const char *name)
{
	struct mark_name packed = { 0, 0 };

	for (unsigned int i = 0; i < 16 && name[i]; i++) {
		uint64_t byte = (unsigned char)name[i];

		if (i < 8)
			packed.low |= byte << (8 * i);
		else
			packed.high |= byte << (8 * (i - 8));
	}
	return packed;
}

/* Name the calling thread. */
static inline void mark_thread(const char *name)
{
	struct mark_name packed = mark_pack(name);

	arch_mark(MARK_THREAD, packed.low, packed.high, UINT64_C(0), UINT64_C(0));
}

/* A phase begins, with a number of the caller's choice. */
static inline void mark_begin(struct mark_name name, uint64_t number)
{
	arch_mark(MARK_BEGIN, name.low, name.high, number, UINT64_C(0));
}

/* The phase ends. */
static inline void mark_end(struct mark_name name, uint64_t number)
{
	arch_mark(MARK_END, name.low, name.high, number, UINT64_C(0));
}

/* Observe user accesses in [start, start + bytes); @nr is 0..7. */
static inline void mark_range(uint64_t nr, const void *start, uint64_t bytes)
{
	arch_mark(MARK_RANGE, nr, (uint64_t)start, bytes, UINT64_C(0));
}

/* Stop observing range @nr. */
static inline void mark_unrange(uint64_t nr)
{
	arch_mark(MARK_UNRANGE, nr, UINT64_C(0), UINT64_C(0), UINT64_C(0));
}

/* Iteration @number starts. */
static inline void mark_iter(uint64_t number)
{
	arch_mark(MARK_ITER, number, UINT64_C(0), UINT64_C(0), UINT64_C(0));
}

/* Four words for whoever reads the trace. */
static inline void mark_note(uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	arch_mark(MARK_NOTE, a, b, c, d);
}

#endif
