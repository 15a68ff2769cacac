/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Shadows of page tables, found by the frame a table is in. A frame holds one table,
 * or, where roots are smaller than a page, a row of them.
 */
#ifndef SD_SHADOW_H
#define SD_SHADOW_H

#include "arch.h"
#include "memory.h"

struct table {
	uint64_t off; /* in RAM */
	uint64_t va, root;
	uint32_t refs;
	uint16_t slots;
	uint8_t level;
	bool is_root;
	bool is_kernel; /* reached from the kernel's root */
	bool is_twin;	/* the second root of an address space: @root is the first */
	bool ready, known;
	uint64_t lock; /* VA of its lock while that is watched, else 0 */
	uint64_t slot[SD_SLOTS];
	/* Of a frame: the row of small roots in it, and how many of them are known. */
	struct table *row;
	unsigned nrow;
};

extern struct table *sd_shadows; /* one for each frame of RAM */
extern unsigned sd_root_slots;	 /* of a user root */

static inline struct table *frame_of(uint64_t off)
{
	return &sd_shadows[off >> SD_PAGE_SHIFT];
}

static inline struct table *in_row(struct table *frame, uint64_t off)
{
	return &frame->row[off % SD_PAGE_SIZE / (8 * sd_root_slots)];
}

static inline struct table *table_at(uint64_t off)
{
	struct table *frame = frame_of(off);

	if (G_LIKELY(!__atomic_load_n(&frame->nrow, __ATOMIC_ACQUIRE)))
		return frame;
	return in_row(frame, off);
}

static inline uint64_t table_pa(const struct table *t)
{
	return sd_off_to_pa(t->off);
}

static inline bool is_known(uint64_t off)
{
	return (sd_page_flags(off) & SD_PAGE_TABLE) &&
	       __atomic_load_n(&table_at(off)->known, __ATOMIC_ACQUIRE);
}

/* The shadow for a table that becomes known; a small root gets a place in its frame's row. */
static inline struct table *claim(uint64_t off, unsigned slots)
{
	struct table *frame = frame_of(off);

	if (slots == SD_SLOTS)
		return frame;
	if (!frame->row)
		frame->row = g_new0(struct table, SD_SLOTS / slots);
	__atomic_add_fetch(&frame->nrow, 1, __ATOMIC_SEQ_CST);
	return in_row(frame, off);
}

static inline void mark_known(struct table *t)
{
	__atomic_store_n(&t->known, true, __ATOMIC_SEQ_CST);
	__atomic_or_fetch(&sd_mem.page[t->off >> SD_PAGE_SHIFT], SD_PAGE_TABLE, __ATOMIC_SEQ_CST);
}

static inline void mark_unknown(struct table *t)
{
	struct table *frame = frame_of(t->off);

	__atomic_store_n(&t->known, false, __ATOMIC_SEQ_CST);
	if (t == frame || !__atomic_sub_fetch(&frame->nrow, 1, __ATOMIC_SEQ_CST))
		__atomic_and_fetch(&sd_mem.page[t->off >> SD_PAGE_SHIFT], (uint16_t)~SD_PAGE_TABLE,
				   __ATOMIC_SEQ_CST);
}

static inline uint64_t slot_span(unsigned level)
{
	return 1ull << (SD_PAGE_SHIFT + 9 * (level - 1));
}

static inline uint64_t slot_va(const struct table *t, unsigned index)
{
	uint64_t va = t->va + index * slot_span(t->level);
	unsigned bits = SD_PAGE_SHIFT + 9 * t->level;

	if (t->is_root && sd_arch->root_signed)
		va = (uint64_t)((int64_t)(va << (64 - bits)) >> (64 - bits));
	return va;
}

static inline bool is_user(const struct table *t)
{
	return !(t->va >> 63) && !t->is_kernel;
}

#endif
