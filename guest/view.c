// SPDX-License-Identifier: GPL-2.0-or-later
#include "view.h"

#include "marks.h"
#include "workload.h"

/* Bits of a stamp: 63..48 magic, 47..44 family, 43..8 generation, 7..0 page. */
static const uint64_t magic = 0x5d57;
enum { MAGIC_SHIFT = 48, FAMILY_SHIFT = 44, GENERATION_SHIFT = 8 };

static uint64_t stamp_make(unsigned int family, uint64_t generation, unsigned int page)
{
	return magic << MAGIC_SHIFT | (uint64_t)family << FAMILY_SHIFT |
	       generation << GENERATION_SHIFT | page;
}

void view_init(struct view *view, unsigned int id, unsigned int family, char *base,
	       unsigned int pages)
{
	*view = (struct view){ .base = base, .id = id, .family = family, .pages = pages };
	if (pages > VIEW_MAX_PAGES)
		die("a view has at most %d pages", VIEW_MAX_PAGES);
	mark_range(id, base, pages * PAGE_BYTES);
}

void view_release(struct view *view)
{
	mark_unrange(view->id);
}

void view_expect(struct view *view, uint64_t generation)
{
	atomic_store_explicit(&view->ceiling, generation, memory_order_seq_cst);
}

void view_fill(struct view *view, char *through, unsigned int first, unsigned int count,
	       uint64_t generation)
{
	view_expect(view, generation);
	for (unsigned int page = first; page < first + count; page++)
		*(volatile uint64_t *)(through + page * PAGE_BYTES) =
			stamp_make(view->family, generation, page);
}

void view_raise(struct view *view, unsigned int first, unsigned int count, uint64_t generation)
{
	for (unsigned int page = first; page < first + count; page++)
		atomic_store_explicit(&view->floor[page], generation, memory_order_release);
}

enum sight view_classify(struct view *view, unsigned int page, uint64_t value, uint64_t floor,
			 bool *stale)
{
	uint64_t generation = value >> GENERATION_SHIFT & ((UINT64_C(1) << 36) - 1);

	*stale = false;
	if (!value)
		return view->keeps_data && floor ? SIGHT_LOST : SIGHT_ZERO;
	if (value != stamp_make(view->family, generation, page) ||
	    generation > atomic_load_explicit(&view->ceiling, memory_order_acquire))
		return SIGHT_FOREIGN;
	*stale = generation < floor;
	return generation & 1 ? SIGHT_NEW : SIGHT_OLD;
}
