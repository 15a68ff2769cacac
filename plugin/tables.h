/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SD_TABLES_H
#define SD_TABLES_H

#include "memory.h"

/* A store as the tracker needs it: value already reduced to its size. */
struct sd_store {
	uint64_t pc, off, value;
	uint8_t size;
	bool atomic;   /* @value means nothing: read memory */
	bool has_read; /* @read is what the atomic saw */
	uint64_t read;
};

struct sd_word;

/* Reserve room for one shadow per frame of RAM (virtual only; touched as used). */
bool sd_tables_init(void);
/* How deep kernel and user root tables are, and how many slots both have. */
void sd_tables_set_roots(unsigned kernel_levels, unsigned user_levels, unsigned slots);
/* Tests: lose the n-th store to a table. */
void sd_tables_drop(uint64_t nth);

/*
 * Watch the lock of each user table of the levels whose bits are set in @levels
 * (bit 1: level 1): a word at w->offset of the frame's structure, or of what the
 * pointer there points to when @pointer. The PA of the table is its base.
 */
void sd_tables_lock(const struct sd_word *w, unsigned levels, bool pointer);

/* The kernel's root table, by its RAM offset; it has been learned. */
void sd_tables_kernel_root(uint64_t off);
/* RAM offset of what the kernel's tables map a VA to; false when that is no RAM. */
bool sd_kernel_translate(uint64_t va, uint64_t *off);

/* A store hit a frame that is a known table. */
void sd_table_store(unsigned cpu, const struct sd_store *st);

/* Learn or forget the root at a PA; learning one that is known does nothing. */
void sd_root_learn(unsigned cpu, uint64_t pc, uint64_t pa, bool kernel);
void sd_root_forget(unsigned cpu, uint64_t pc, uint64_t pa);
/* The root that names the address space: another one only for the second of a pair. */
uint64_t sd_root_first(uint64_t pa);

/* VAs the known table at this RAM offset maps; false when it is none. */
bool sd_table_range(uint64_t off, uint64_t *va, uint64_t *size);

#endif
