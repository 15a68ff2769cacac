/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SD_WATCH_H
#define SD_WATCH_H

#include "tables.h"

/* A word of a dynamic set: @offset from the object's base, or from what it points to. */
struct sd_word {
	unsigned set, id, size;
	uint64_t offset;
	bool root;   /* its value is the VA of a root table */
	bool always; /* a plain store is told even if it seems to change nothing */
	bool via;    /* @offset is from what the object's word at @pointer points to */
	uint64_t pointer;
};

/* A store to a watched page, with the operation of an atomic. */
struct sd_wstore {
	struct sd_store st;
	uint8_t rmw; /* enum sd_rmw */
	bool expected_known;
	uint64_t expected; /* cmpxchg */
};

void sd_watch_delay(unsigned us);

/* Watch a word; false when it cannot be, which is counted as an event lost. */
bool sd_watch_add(unsigned cpu, uint64_t pc, const struct sd_word *w, uint64_t va, uint64_t base);
/*
 * The same in two steps, around what makes stores by others seen: the entry, which
 * sd_watch_begun() takes the word's value for and tells of.
 */
bool sd_watch_begin(unsigned cpu, const struct sd_word *w, uint64_t va, uint64_t base);
void sd_watch_begun(unsigned cpu, uint64_t pc, const struct sd_word *w, uint64_t va);
void sd_watch_remove(const struct sd_word *w, uint64_t va);
void sd_watch_store(unsigned cpu, const struct sd_wstore *ws);

#endif
