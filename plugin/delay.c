/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which arrival is delayed, and for how long, depends on the seed, the vCPU, the
 * point and on how often the vCPU reached it, and on nothing else: the same seed
 * makes the same decisions, however the vCPUs interleave. So every vCPU has a
 * random stream of its own for each point, and the hot path shares nothing.
 *
 * The generator is splitmix64 (Steele, Lea and Flood, "Fast splittable pseudorandom
 * number generators", 2014), written down here because neither C nor glib has one
 * whose numbers are the same everywhere, which pytool/shootdown/race/draws.py must
 * foretell.
 */
#include "delay.h"
#include "anchor.h"
#include "arch.h"
#include "observe.h"
#include "trace.h"
#include <stdlib.h>
#include <time.h>

enum { NS_PER_S = 1000000000, SLACK_NS = 100000 };
static const uint64_t GOLDEN = 0x9e3779b97f4a7c15ull;

/* One vCPU at one point. */
struct stream {
	uint64_t state, reached, given;
};

static struct sd_delay_point points[SD_MAX_DELAYS];
static unsigned npoints, nplaced; /* the first ones have no PC */
static const struct sd_delay_point *root_point;
static struct stream streams[SD_MAX_CPUS][SD_MAX_DELAYS];
static uint64_t seed;
static int phases;

/* What a vCPU's arrivals at ranked points make of its rank. */
static struct {
	uint64_t arrived;
	unsigned rank, next, n;
	struct {
		uint64_t nth;
		unsigned rank;
	} change[SD_MAX_CHANGES];
} ranks[SD_MAX_CPUS];

/* A store's point, until everything about the store was told. */
static struct {
	const struct sd_delay_point *point;
	uint64_t pc, va;
	bool root; /* the vCPU has loaded another root */
} __attribute__((aligned(64))) pending[SD_MAX_CPUS];

bool sd_delay_add(const struct sd_delay_point *p)
{
	if (npoints == SD_MAX_DELAYS)
		return false;
	points[npoints++] = *p;
	return true;
}

bool sd_delay_rank(uint64_t cpu, uint64_t nth, uint64_t rank)
{
	if (cpu >= SD_MAX_CPUS || rank >= SD_MAX_CPUS || ranks[cpu].n == SD_MAX_CHANGES)
		return false;
	if (ranks[cpu].n && ranks[cpu].change[ranks[cpu].n - 1].nth >= nth)
		return false;
	ranks[cpu].change[ranks[cpu].n].nth = nth;
	ranks[cpu].change[ranks[cpu].n++].rank = (unsigned)rank;
	return true;
}

void sd_delay_seed(uint64_t value)
{
	seed = value;
}

bool sd_delays_any(void)
{
	return npoints;
}

static int by_pc(const void *a, const void *b)
{
	const struct sd_delay_point *p = a, *q = b;

	if (p->pc != q->pc)
		return p->pc > q->pc ? 1 : -1;
	return (p->id > q->id) - (p->id < q->id);
}

static uint64_t mixed(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

static uint64_t draw(uint64_t *state)
{
	*state += GOLDEN;
	return mixed(*state);
}

void sd_delays_seal(void)
{
	qsort(points, npoints, sizeof(points[0]), by_pc);
	for (; nplaced < npoints && !points[nplaced].pc; nplaced++)
		if (points[nplaced].root)
			root_point = &points[nplaced];
	for (unsigned cpu = 0; cpu < SD_MAX_CPUS && npoints; cpu++)
		for (unsigned i = 0; i < npoints; i++)
			streams[cpu][i].state =
				mixed(seed + GOLDEN * ((uint64_t)cpu << 16 | points[i].id));
}

void sd_delay_move(void)
{
	for (unsigned i = nplaced; i < npoints; i++)
		points[i].pc = sd_slid(points[i].pc);
}

const struct sd_delay_point *sd_delay_at(uint64_t pc, unsigned n)
{
	unsigned low = nplaced, high = npoints;

	while (low < high) {
		unsigned middle = (low + high) / 2;

		if (points[middle].pc < pc)
			low = middle + 1;
		else
			high = middle;
	}
	return low + n < npoints && points[low + n].pc == pc ? &points[low + n] : NULL;
}

/* A share of @n, by the upper half of a random number. */
static uint64_t share(uint64_t random, uint64_t n)
{
	return ((random >> 32) * n) >> 32;
}

/*
 * Nanoseconds for this arrival, or 0. Both numbers are drawn whatever comes of them,
 * so the n-th arrival has the same two always. Each power of two between @min and
 * @min << @octaves is as likely as the other: nobody knows how long a window is.
 */
static uint64_t by_chance(const struct sd_delay_point *p, struct stream *s)
{
	uint64_t first = draw(&s->state), second = draw(&s->state), ns = p->min;

	if (share(first, SD_MILLION) >= p->chance)
		return 0;
	if (p->octaves) {
		ns <<= share(second, p->octaves);
		ns += (ns * (second & UINT32_MAX)) >> 32;
	}
	return ns;
}

static uint64_t by_rank(unsigned cpu, const struct sd_delay_point *p)
{
	uint64_t arrival = ranks[cpu].arrived++;

	while (ranks[cpu].next < ranks[cpu].n && ranks[cpu].change[ranks[cpu].next].nth <= arrival)
		ranks[cpu].rank = ranks[cpu].change[ranks[cpu].next++].rank;
	return p->min * ranks[cpu].rank;
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

/* Stand still; returns for how long. The last part is spun: a sleep ends late. */
static uint64_t stand(uint64_t ns)
{
	uint64_t begin = now_ns(), now = begin;

	if (ns > SLACK_NS) {
		uint64_t wake = begin + ns - SLACK_NS;
		struct timespec t = { .tv_sec = (time_t)(wake / NS_PER_S),
				      .tv_nsec = (long)(wake % NS_PER_S) };

		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
	}
	while (now - begin < ns)
		now = now_ns();
	return now - begin;
}

static void reached(unsigned cpu, const struct sd_delay_point *p, uint64_t pc, uint64_t va)
{
	struct stream *s = &streams[cpu][p - points];
	uint64_t ns, stood;

	s->reached++;
	ns = p->ranked ? by_rank(cpu, p) : by_chance(p, s);
	ns = MIN(ns, (uint64_t)SD_MAX_DELAY_NS);
	if (!ns || s->given >= p->limit)
		return;
	s->given++;
	stood = stand(ns);
	sd_emit(cpu, &(struct sd_event){ .kind = SD_KIND_DELAY,
					 .id = p->id,
					 .pc = pc,
					 .a = ns,
					 .b = stood,
					 .c = s->reached,
					 .d = va });
}

static bool is_on(void)
{
	return __atomic_load_n(&phases, __ATOMIC_RELAXED) > 0;
}

void sd_delay_reached(unsigned cpu, const struct sd_delay_point *p)
{
	if (is_on())
		reached(cpu, p, p->pc, 0);
}

static unsigned class_of(uint64_t entry)
{
	if (!sd_arch->is_leaf(entry, 1))
		return SD_ENTRY_NONE;
	return sd_arch->is_writable(entry) ? SD_ENTRY_WRITABLE : SD_ENTRY_READONLY;
}

void sd_delay_entry(unsigned cpu, uint64_t pc, uint64_t va, uint64_t old, uint64_t new)
{
	unsigned was, is;

	if (G_LIKELY(!nplaced) || !is_on())
		return;
	was = class_of(old);
	is = class_of(new);
	for (unsigned i = 0; i < nplaced; i++) {
		if (!(points[i].old & was) || !(points[i].new &is))
			continue;
		if (points[i].window && !sd_observe_declared(va))
			continue;
		pending[cpu].point = &points[i];
		pending[cpu].pc = pc;
		pending[cpu].va = va;
		return;
	}
}

void sd_delay_after_store(unsigned cpu)
{
	const struct sd_delay_point *p = pending[cpu].point;

	if (G_LIKELY(!p))
		return;
	pending[cpu].point = NULL;
	reached(cpu, p, pending[cpu].pc, pending[cpu].va);
}

bool sd_delay_roots(void)
{
	return root_point;
}

void sd_delay_root(unsigned cpu)
{
	pending[cpu].root = true;
}

void sd_delay_after_root(unsigned cpu, uint64_t pc)
{
	bool loaded = pending[cpu].root;

	pending[cpu].root = false;
	if (loaded && is_on())
		reached(cpu, root_point, pc, 0);
}

void sd_delay_phase(int by)
{
	__atomic_add_fetch(&phases, by, __ATOMIC_RELAXED);
}
