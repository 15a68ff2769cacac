/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A view: a few pages that one thread replaces and others watch, and what may be seen there.
 *
 * The first word of each page carries a stamp: magic, family, generation, page. Generations only
 * grow: iteration i writes 2i before it replaces a page and 2i + 1 afterwards. For each page the
 * mapper publishes a floor, the smallest generation that can still be seen by a load which starts
 * after the floor was read; it is raised once the replacing system call has returned. A stamp
 * below the floor is stale. What is neither zero nor a stamp written to that page is foreign.
 */
#ifndef VIEW_H
#define VIEW_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "area.h"

enum { VIEW_MAX_PAGES = 256 };

struct view {
	char *base;
	unsigned int id;     /* its range number, 0..7 */
	unsigned int family; /* 0..15; views that exchange pages share one */
	unsigned int pages;
	bool keeps_data;	  /* zero cannot be seen once a page was filled */
	_Atomic uint64_t ceiling; /* greatest generation ever written */
	_Atomic uint64_t floor[VIEW_MAX_PAGES];
};

enum sight { SIGHT_ZERO, SIGHT_OLD, SIGHT_NEW, SIGHT_FOREIGN, SIGHT_LOST, SIGHT_KINDS };

/* Prepare a view of @pages pages at @base and declare it as range @id to the plugin. */
void view_init(struct view *view, unsigned int id, unsigned int family, char *base,
	       unsigned int pages);
void view_release(struct view *view);

/* Address of page @page. */
static inline char *view_at(const struct view *view, unsigned int page)
{
	return view->base + page * PAGE_BYTES;
}

/* Announce that stamps of @generation are about to be written to the view's memory. */
void view_expect(struct view *view, uint64_t generation);

/*
 * Write the stamps of @generation to pages [first, first + count). @through is where page 0 is
 * mapped for the writer: the view's base, or another mapping of the same memory.
 */
void view_fill(struct view *view, char *through, unsigned int first, unsigned int count,
	       uint64_t generation);

/* From now on nothing before @generation may be seen in [first, first + count). */
void view_raise(struct view *view, unsigned int first, unsigned int count, uint64_t generation);

/* Classify @value loaded from @page, the floor having been @floor before the load. */
enum sight view_classify(struct view *view, unsigned int page, uint64_t value, uint64_t floor,
			 bool *stale);

#endif
