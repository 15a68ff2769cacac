/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Address space with known page tables.
 *
 * An area is one or more aligned 2 MiB blocks, each the reach of one last-level table. The window
 * of a workload lies inside a block whose other pages stay mapped, so that its table survives.
 */
#ifndef AREA_H
#define AREA_H

#include <stddef.h>
#include <stdint.h>

#define PAGE_BYTES  ((size_t)4096)
#define BLOCK_BYTES ((size_t)2 << 20)
#define BLOCK_PAGES (BLOCK_BYTES / PAGE_BYTES)

/* First byte of the window inside @block: far from the pages that keep its table alive. */
static inline char *area_window(char *block)
{
	return block + 64 * PAGE_BYTES;
}

/* 4 KiB pages only, in the whole process. */
void area_small_pages(void);

/* Reserve @blocks aligned blocks without access; nothing else is mapped near them. */
char *area_reserve(size_t blocks);

/* Map anonymous, private, readable, writable memory at exactly [at, at + bytes). */
void area_map(char *at, size_t bytes);

/* Map @blocks blocks and write to some pages at both ends of each, away from the window. */
char *area_create(size_t blocks);

/* Unmap the pages [at, at + pages) and some around them: what comes there touches no other VMA. */
void area_hole(char *at, size_t pages);

/* Write one byte to every page of [at, at + bytes). */
void area_touch(char *at, size_t bytes);

/*
 * Zeroed memory for what threads tell each other. Shared, so that no fork makes it copy-on-write:
 * on a kernel whose flushes were taken out, two CPUs could see different copies for ever.
 */
void *area_shared(size_t bytes);

/* A memory file of @bytes; *alias is a mapping of all of it. Returns the descriptor. */
int area_memfd(size_t bytes, char **alias);

#endif
