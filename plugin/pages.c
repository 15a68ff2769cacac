/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Page frames: where the guest keeps their structures, and when those that user
 * memory or a page table was in are freed and allocated again.
 *
 * The structures lie behind virtual addresses of their own, not in the linear map,
 * so watched words among them would not be found. Their pages are looked up once,
 * in the kernel's tables, when recording starts; the kernel maps them while it
 * boots and never moves them.
 *
 * A frame is marked when a user slot maps it or it becomes a user table. Only
 * marked frames are told of, so the kernel's own allocations cost a look at the
 * marks. The allocation clears the mark. Functions that free or allocate call each
 * other; the mark also sees to it that what several of them say is told once.
 */
#include <stdlib.h>
#include <string.h>

#include "pages.h"
#include "tables.h"
#include "trace.h"

enum { MAX_ORDER = 20, MAX_LIST = 1 << 20, KEPT_BITS = 13, KEPT_WAYS = 8 };

static uint64_t first_va, stride;
static bool following;
static uint8_t *uses; /* per frame; NULL: nobody asked */

static struct {
	uint64_t flags, order;
	unsigned bit;
	bool known;
} compound;

static struct kept {
	uint64_t key, value; /* no key: free */
} kept[1 << KEPT_BITS][KEPT_WAYS];

bool sd_pages_map(uint64_t va, uint64_t bytes)
{
	uint64_t frames = sd_mem.ram_size >> SD_PAGE_SHIFT;
	uint64_t start = va + (sd_mem.ram_base >> SD_PAGE_SHIFT) * bytes;
	uint64_t first = start & ~(uint64_t)(SD_PAGE_SIZE - 1);
	uint64_t pages = (start + frames * bytes - first + SD_PAGE_SIZE - 1) >> SD_PAGE_SHIFT;
	uint64_t *where = g_new(uint64_t, pages);

	for (uint64_t i = 0; i < pages; i++)
		if (!sd_kernel_translate(first + (i << SD_PAGE_SHIFT), &where[i])) {
			g_free(where);
			return false;
		}
	first_va = start;
	stride = bytes;
	if (following)
		uses = g_new0(uint8_t, frames);
	sd_mem.pages_off = where;
	sd_mem.pages_va = first;
	sd_mem.pages_size = pages << SD_PAGE_SHIFT;
	return true;
}

uint64_t sd_pages_va(uint64_t off)
{
	return first_va + (off >> SD_PAGE_SHIFT) * stride;
}

bool sd_kernel_word(uint64_t va, unsigned size, uint64_t *ret)
{
	uint64_t off = sd_va_to_off(va);

	if (off == UINT64_MAX && !sd_kernel_translate(va, &off))
		return false;
	if ((off & 7) + size > 8)
		return false;
	*ret = (sd_ram_u64(off) >> (8 * (off & 7))) & sd_mask(size);
	return true;
}

/* --- life ----------------------------------------------------------------- */

void sd_pages_follow(void)
{
	following = true;
}

void sd_pages_compound(uint64_t flags, unsigned bit, uint64_t order)
{
	compound.flags = flags;
	compound.bit = bit & 63;
	compound.order = order;
	compound.known = true;
}

/* A frame in use is not free, whatever was seen of it. */
void sd_pages_used(uint64_t pa, uint64_t size, uint8_t use)
{
	uint64_t off;

	if (!uses || !sd_pa_to_off(pa, &off))
		return;
	for (uint64_t end = MIN(off + size, sd_mem.ram_size); off < end; off += SD_PAGE_SIZE) {
		uint8_t *u = &uses[off >> SD_PAGE_SHIFT];
		uint8_t was = __atomic_load_n(u, __ATOMIC_RELAXED);

		if ((was & (use | SD_USED_FREED)) != use)
			__atomic_store_n(u, (was & ~SD_USED_FREED) | use, __ATOMIC_RELAXED);
	}
}

/* What a frame was used for, when that is news; 0 else. */
static uint8_t turn(uint8_t *u, bool freed)
{
	uint8_t was = __atomic_load_n(u, __ATOMIC_RELAXED);

	if (!was || (freed && (was & SD_USED_FREED)))
		return 0;
	__atomic_store_n(u, freed ? was | SD_USED_FREED : 0, __ATOMIC_RELAXED);
	return was;
}

void sd_pages_block(const struct sd_pages_at *at, uint64_t va, uint64_t order)
{
	uint64_t frames = sd_mem.ram_size >> SD_PAGE_SHIFT;
	uint64_t frame = uses ? (va - first_va) / stride : frames, told = 0;
	uint8_t was = 0;

	if (va < first_va || frame >= frames || order > MAX_ORDER)
		return;
	for (uint64_t i = frame; i < MIN(frame + (1ull << order), frames); i++) {
		uint8_t one = turn(&uses[i], at->kind == SD_KIND_PAGE_FREED);

		was |= one;
		told += one != 0;
	}
	if (told)
		sd_emit(at->cpu, &(struct sd_event){ .kind = at->kind,
						     .id = at->id,
						     .pc = at->pc,
						     .a = sd_off_to_pa(frame << SD_PAGE_SHIFT),
						     .b = 1ull << order,
						     .c = was & (SD_USE_LEAF | SD_USE_TABLE),
						     .d = told });
}

/* The order that a structure says itself. */
static uint64_t order_of(uint64_t va)
{
	uint64_t flags, order;

	if (!compound.known || !sd_kernel_word(va + compound.flags, 8, &flags) ||
	    !(flags >> compound.bit & 1) || !sd_kernel_word(va + compound.order, 1, &order))
		return 0;
	return order;
}

void sd_pages_array(const struct sd_pages_at *at, uint64_t va, uint64_t count)
{
	uint64_t page;

	for (uint64_t i = 0; i < MIN(count, (uint64_t)MAX_LIST); i++)
		if (sd_kernel_word(va + 8 * i, 8, &page) && page)
			sd_pages_block(at, page, order_of(page));
}

void sd_pages_list(const struct sd_pages_at *at, uint64_t head, uint64_t link)
{
	uint64_t at_va = head;

	for (unsigned i = 0; i < MAX_LIST; i++) {
		if (!sd_kernel_word(at_va, 8, &at_va) || at_va == head)
			return;
		sd_pages_block(at, at_va - link, order_of(at_va - link));
	}
}

/* --- words kept from a function's entry to its end -------------------------- */

static struct kept *places_of(uint64_t key)
{
	return kept[(key >> 3) * 0x9e3779b97f4a7c15ull >> (64 - KEPT_BITS)];
}

/* Where the key is, or is put now: in place of nothing, or of one that may never be asked for. */
static struct kept *place(uint64_t key)
{
	static unsigned turn_of;
	struct kept *k = places_of(key);

	for (unsigned i = 0; i < KEPT_WAYS; i++)
		if (__atomic_load_n(&k[i].key, __ATOMIC_RELAXED) == key)
			return &k[i];
	for (unsigned i = 0; i < KEPT_WAYS; i++) {
		uint64_t none = 0;

		if (__atomic_compare_exchange_n(&k[i].key, &none, key, false, __ATOMIC_RELAXED,
						__ATOMIC_RELAXED))
			return &k[i];
	}
	return &k[__atomic_fetch_add(&turn_of, 1, __ATOMIC_RELAXED) % KEPT_WAYS];
}

/*
 * Keys of calls that run at a time differ, and there are many: who waits for memory keeps his for
 * long. A call asks once, at its end.
 */
void sd_keep(uint64_t key, uint64_t value)
{
	struct kept *k = place(key);

	__atomic_store_n(&k->value, value, __ATOMIC_RELAXED);
	__atomic_store_n(&k->key, key, __ATOMIC_RELEASE);
}

bool sd_kept(uint64_t key, uint64_t *ret)
{
	struct kept *k = places_of(key);

	for (unsigned i = 0; i < KEPT_WAYS; i++) {
		if (__atomic_load_n(&k[i].key, __ATOMIC_ACQUIRE) != key)
			continue;
		*ret = __atomic_load_n(&k[i].value, __ATOMIC_RELAXED);
		__atomic_store_n(&k[i].key, 0, __ATOMIC_RELEASE);
		return true;
	}
	return false;
}
