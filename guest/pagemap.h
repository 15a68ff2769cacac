/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What /proc/self/pagemap says about some pages. */
#ifndef PAGEMAP_H
#define PAGEMAP_H

#include <stdint.h>

enum { PAGEMAP_MAX_PAGES = 64 };

struct pagemap {
	unsigned int pages;
	uint64_t entries[PAGEMAP_MAX_PAGES];
};

/* Read the entries of @pages pages at @start. */
void pagemap_read(struct pagemap *map, const void *start, unsigned int pages);

/* Number of present pages. */
uint64_t pagemap_present(const struct pagemap *map);

/* Number of pages, of the first that both have, present in both with different page frames. */
uint64_t pagemap_changed(const struct pagemap *before, const struct pagemap *after);

/* Sum of the numbers of the page frames of the present pages. */
uint64_t pagemap_frames(const struct pagemap *map);

#endif
