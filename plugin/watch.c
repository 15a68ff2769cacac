/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Watched words: an open-addressing table keyed by the RAM offset of the 8-byte
 * granule; a granule may hold several words. Adding and removing take a lock, a
 * look-up takes none. There is room for thousands of address spaces; a full table
 * is an event lost, so the run says so.
 *
 * Old and new values of an atomic come from what its two callbacks report. QEMU
 * reports the result for plain, xchg and cmpxchg, but for fetch-and-op (and all
 * of arm64 LSE) the read half is the old value and the write half the operand,
 * and for x86 lock-op the read half is the new value
 * (accel/tcg/atomic_template.h, target/i386/tcg/emit.c.inc). Without sd_parallel
 * atomics are a plain load and store and report old and new.
 *
 * What a plain store found is taken from the last one that was told. For a lock that
 * may be wrong: the release that let this CPU in is visible before it is told. Such
 * words are told of every plain store; those that seem to change nothing say old =
 * new.
 *
 * What a lock-and or lock-or found cannot be told from its result, and what is
 * remembered of the word may be another vCPU's later doing. Their events say so:
 * old = new. The chain of the word's values tells what they found.
 */
#include <stdlib.h>
#include <unistd.h>

#include "arch.h"
#include "trace.h"
#include "watch.h"

enum { WAY_BITS = 18, WAYS = 1 << WAY_BITS, PROBES = 64 };
static const uint64_t EMPTY = 0, GONE = 1; /* keys are offset | 2 */

struct watch {
	uint64_t key;
	uint64_t base, value, off;
	uint16_t id;
	uint8_t size;
	bool root, always;
};

static struct watch watches[WAYS];
static GMutex changing;
static unsigned delay_us;

void sd_watch_delay(unsigned us)
{
	delay_us = us;
}

static unsigned hash(uint64_t off)
{
	return (unsigned)(((off >> 3) * 0x9e3779b97f4a7c15ull) >> (64 - WAY_BITS));
}

static uint64_t key_of(uint64_t off)
{
	return (off & ~7ull) | 2;
}

/* The entries of a granule: begin at its hash, go on behind the last one found. */
struct place {
	uint64_t key;
	unsigned at, left;
};

static struct place places_of(uint64_t off)
{
	return (struct place){ .key = key_of(off), .at = hash(off), .left = PROBES };
}

static struct watch *next_of(struct place *p)
{
	while (p->left--) {
		struct watch *e = &watches[p->at];
		uint64_t k = __atomic_load_n(&e->key, __ATOMIC_ACQUIRE);

		p->at = (p->at + 1) % WAYS;
		if (k == p->key)
			return e;
		if (k == EMPTY)
			break;
	}
	p->left = 0;
	return NULL;
}

/* The entry of one word. @changing is held. */
static struct watch *find(uint64_t off, unsigned id)
{
	struct place p = places_of(off);
	struct watch *e;

	while ((e = next_of(&p)) && (e->off != off || e->id != id))
		;
	return e;
}

/* A free entry for @off; @changing is held. */
static struct watch *claim(uint64_t off)
{
	for (unsigned i = 0, h = hash(off); i < PROBES; i++, h = (h + 1) % WAYS)
		if (watches[h].key == EMPTY || watches[h].key == GONE)
			return &watches[h];
	return NULL;
}

static uint64_t ram_value(uint64_t off, unsigned size)
{
	return (sd_ram_u64(off) >> (8 * (off & 7))) & sd_mask(size);
}

/* The entry for a word, new or there already; NULL when there is no room. @changing is held. */
static struct watch *place(const struct sd_word *w, uint64_t off, uint64_t base)
{
	struct watch *e = find(off, w->id);

	if (e) /* an object that came back without having been given up */
		return e->base == base ? e : NULL;
	e = claim(off);
	if (!e)
		return NULL;
	e->off = off;
	e->base = base;
	e->id = (uint16_t)w->id;
	e->root = w->root;
	e->always = w->always;
	e->value = ram_value(off, w->size);
	e->size = (uint8_t)w->size;
	__atomic_store_n(&e->key, key_of(off), __ATOMIC_RELEASE);
	__atomic_add_fetch(&sd_mem.page[off >> SD_PAGE_SHIFT], 1, __ATOMIC_SEQ_CST);
	return e;
}

bool sd_watch_begin(unsigned cpu, const struct sd_word *w, uint64_t va, uint64_t base)
{
	uint64_t off = sd_va_to_off(va);
	struct watch *e = NULL;

	if (off != UINT64_MAX && (off & 7) + w->size <= 8) {
		g_mutex_lock(&changing);
		e = place(w, off, base);
		g_mutex_unlock(&changing);
	}
	if (!e)
		sd_cpus[cpu].lost++;
	return e;
}

static void tell(unsigned cpu, uint64_t pc, const struct watch *e)
{
	sd_emit(cpu, &(struct sd_event){ .kind = SD_KIND_WATCH_INIT,
					 .id = e->id,
					 .pc = pc,
					 .a = sd_off_to_pa(e->off),
					 .c = e->value,
					 .d = e->base,
					 .size = e->size });
}

void sd_watch_begun(unsigned cpu, uint64_t pc, const struct sd_word *w, uint64_t va)
{
	uint64_t off = sd_va_to_off(va);
	struct watch *e;

	g_mutex_lock(&changing);
	e = find(off, w->id);
	if (e)
		__atomic_store_n(&e->value, ram_value(off, w->size), __ATOMIC_RELEASE);
	g_mutex_unlock(&changing);
	if (e)
		tell(cpu, pc, e);
}

bool sd_watch_add(unsigned cpu, uint64_t pc, const struct sd_word *w, uint64_t va, uint64_t base)
{
	struct watch *e;

	if (!sd_watch_begin(cpu, w, va, base))
		return false;
	g_mutex_lock(&changing);
	e = find(sd_va_to_off(va), w->id);
	g_mutex_unlock(&changing);
	if (e)
		tell(cpu, pc, e);
	return true;
}

/*
 * Empty an entry. A look-up stops at an empty one, so entries that others may have
 * been placed behind stay GONE, until what follows them is empty. @changing is held.
 */
static void vacate(unsigned at)
{
	__atomic_store_n(&watches[at].key, GONE, __ATOMIC_RELEASE);
	if (watches[(at + 1) % WAYS].key != EMPTY)
		return;
	for (; watches[at].key == GONE; at = (at + WAYS - 1) % WAYS)
		__atomic_store_n(&watches[at].key, EMPTY, __ATOMIC_RELEASE);
}

void sd_watch_remove(const struct sd_word *w, uint64_t va)
{
	uint64_t off = sd_va_to_off(va);
	struct watch *e;

	if (off == UINT64_MAX)
		return;
	g_mutex_lock(&changing);
	e = find(off, w->id);
	if (e) {
		vacate((unsigned)(e - watches));
		__atomic_sub_fetch(&sd_mem.page[off >> SD_PAGE_SHIFT], 1, __ATOMIC_SEQ_CST);
	}
	g_mutex_unlock(&changing);
}

/* Whether the store is an atomic that does not tell what it found. */
static bool is_blind(const struct sd_wstore *ws)
{
	return sd_parallel && (ws->rmw == SD_RMW_AND_FETCH || ws->rmw == SD_RMW_OR_FETCH);
}

/* Old and new value of an atomic; false when it wrote nothing. */
static bool rmw_values(const struct sd_wstore *ws, uint64_t *old, uint64_t *new)
{
	uint64_t r = ws->st.read, w = ws->st.value, mask = sd_mask(ws->st.size);

	*old = r;
	*new = w;
	if (ws->rmw == SD_RMW_CMPXCHG || ws->rmw == SD_RMW_STXR)
		return !sd_parallel || !ws->expected_known || ((r ^ ws->expected) & mask) == 0;
	if (!sd_parallel)
		return true;
	switch (ws->rmw) {
	case SD_RMW_FETCH_ADD:
		*new = (r + w) & mask;
		break;
	case SD_RMW_FETCH_AND:
		*new = r &w;
		break;
	case SD_RMW_FETCH_OR:
		*new = r | w;
		break;
	case SD_RMW_FETCH_XOR:
		*new = r ^ w;
		break;
	case SD_RMW_ADD_FETCH:
		*old = (r - w) & mask;
		*new = r;
		break;
	case SD_RMW_XOR_FETCH:
		*old = r ^ w;
		*new = r;
		break;
	case SD_RMW_AND_FETCH:
	case SD_RMW_OR_FETCH:
		*new = r;
		break;
	default:
		break;
	}
	return true;
}

/* Tests: hold back the number, so that other vCPUs overtake it. */
static void delay(void)
{
	static uint64_t state = 88172645463325252ull;
	uint64_t x = __atomic_load_n(&state, __ATOMIC_RELAXED);

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	__atomic_store_n(&state, x, __ATOMIC_RELAXED);
	usleep((useconds_t)(x % delay_us));
}

/* The word's part of a wider value that was stored from @st on. */
static uint64_t part_of(const struct watch *e, const struct sd_store *st, uint64_t value)
{
	return (value >> (8 * (e->off - st->off))) & sd_mask(e->size);
}

/* What the store did to the word; false when it did nothing that counts. */
static bool effect(struct watch *e, const struct sd_wstore *ws, uint64_t *old, uint64_t *new)
{
	const struct sd_store *st = &ws->st;
	bool covers = st->off <= e->off && e->off + e->size <= st->off + st->size;

	if (e->off >= st->off + st->size || st->off >= e->off + e->size)
		return false;
	if (!covers || ws->rmw == SD_RMW_OTHER) {
		*new = ram_value(e->off, e->size); /* a part of it, or a rare atomic */
		*old = __atomic_exchange_n(&e->value, *new, __ATOMIC_ACQ_REL);
		return *old != *new;
	}
	if (!st->atomic) {
		*new = part_of(e, st, st->value);
		*old = __atomic_exchange_n(&e->value, *new, __ATOMIC_ACQ_REL);
		return *old != *new || e->always;
	}
	if (!rmw_values(ws, old, new))
		return false;
	*old = part_of(e, st, *old);
	*new = part_of(e, st, *new);
	__atomic_store_n(&e->value, *new, __ATOMIC_RELEASE);
	return *old != *new || is_blind(ws);
}

static void store_into(unsigned cpu, struct watch *e, const struct sd_wstore *ws)
{
	uint64_t old, new, off;

	if (!effect(e, ws, &old, &new))
		return;
	if (G_UNLIKELY(delay_us))
		delay();
	sd_emit(cpu, &(struct sd_event){ .kind = SD_KIND_WATCH,
					 .id = e->id,
					 .pc = ws->st.pc,
					 .a = sd_off_to_pa(e->off),
					 .b = old,
					 .c = new,
					 .d = e->base,
					 .size = e->size,
					 .flags = ws->st.atomic ? SD_FLAG_ATOMIC : 0 });
	if (e->root && (off = sd_va_to_off(new)) != UINT64_MAX)
		sd_root_learn(cpu, ws->st.pc, sd_off_to_pa(off), false);
}

void sd_watch_store(unsigned cpu, const struct sd_wstore *ws)
{
	struct place p = places_of(ws->st.off);
	struct watch *e;

	while ((e = next_of(&p)))
		store_into(cpu, e, ws);
}
