/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Probes: places in the kernel where registers are captured and watches begin or end. */
#include "probe.h"
#include "anchor.h"
#include "arch.h"
#include "trace.h"

static GArray *probes;
static struct sd_word words[SD_MAX_WORDS];
static unsigned nwords;

void sd_probe_add(const struct sd_probe_point *p)
{
	if (!probes)
		probes = g_array_new(false, false, sizeof(struct sd_probe_point));
	g_array_append_val(probes, *p);
}

bool sd_probe_word(const struct sd_word *w)
{
	if (nwords == SD_MAX_WORDS)
		return false;
	words[nwords++] = *w;
	return true;
}

static struct sd_probe_point *point(unsigned i)
{
	return &g_array_index(probes, struct sd_probe_point, i);
}

static gint by_pc(gconstpointer a, gconstpointer b)
{
	const struct sd_probe_point *p = a, *q = b;

	return (p->pc > q->pc) - (p->pc < q->pc);
}

void sd_probes_seal(void)
{
	if (probes)
		g_array_sort(probes, by_pc); /* stable: probes of one place stay in order */
}

const struct sd_probe_point *sd_probe_at(uint64_t pc, unsigned n)
{
	unsigned low = 0, high = probes ? probes->len : 0, end = high;

	while (low < high) {
		unsigned middle = (low + high) / 2;

		if (point(middle)->pc < pc)
			low = middle + 1;
		else
			high = middle;
	}
	return low + n < end && point(low + n)->pc == pc ? point(low + n) : NULL;
}

void sd_probe_move(void)
{
	for (unsigned i = 0; probes && i < probes->len; i++) {
		struct sd_probe_point *p = &g_array_index(probes, struct sd_probe_point, i);

		p->pc = sd_slid(p->pc);
	}
}

static uint64_t capture(unsigned cpu, const struct sd_capture *c)
{
	uint64_t value = sd_reg(cpu, c->reg), va = value + (uint64_t)c->offset;
	uint64_t off;

	if (!c->size)
		return value;
	off = sd_va_to_off(va);
	if (off != UINT64_MAX && (va & 7) + c->size <= 8)
		return (sd_ram_u64(off) >> (8 * (off & 7))) & sd_mask(c->size);
	value = 0;
	sd_read_va(cpu, va, &value, c->size);
	return value;
}

static void emit(unsigned cpu, const struct sd_probe_point *p, uint16_t kind, uint8_t flags)
{
	uint64_t v[SD_MAX_CAPTURES] = { 0 };
	struct sd_event ev = { .kind = kind, .id = p->id, .pc = p->pc };

	for (unsigned i = 0; i < p->ncaptures; i++)
		v[i] = capture(cpu, &p->capture[i]);
	ev.a = v[0];
	ev.b = v[1];
	ev.c = v[2];
	ev.d = v[3];
	ev.flags = flags | (p->ncaptures > 4 ? SD_FLAG_MORE : 0);
	sd_emit(cpu, &ev);
	if (p->ncaptures > 4)
		sd_emit(cpu, &(struct sd_event){ .kind = kind == SD_KIND_PROBE ? SD_KIND_PROBE_MORE
									       : SD_KIND_ENTER_MORE,
						 .id = p->id,
						 .pc = p->pc,
						 .a = v[4],
						 .b = v[5],
						 .c = v[6],
						 .d = v[7] });
}

/* The word of kernel memory at @va; false when it is NULL. */
static bool pointer(unsigned cpu, uint64_t va, uint64_t *ret)
{
	uint64_t off = sd_va_to_off(va);

	if (off != UINT64_MAX)
		*ret = sd_ram_u64(off);
	else if (!sd_read_va(cpu, va, ret, sizeof(*ret)))
		return false;
	return *ret;
}

static void for_set(unsigned cpu, const struct sd_probe_point *p, unsigned set, uint64_t base,
		    bool add)
{
	for (unsigned i = 0; i < nwords; i++) {
		if (words[i].set != set)
			continue;

		uint64_t at = base;

		if (words[i].via && !pointer(cpu, base + words[i].pointer, &at))
			continue;
		if (add)
			sd_watch_add(cpu, p->pc, &words[i], at + words[i].offset, base);
		else
			sd_watch_remove(&words[i], at + words[i].offset);
	}
}

void sd_probe_watch(unsigned cpu, unsigned set, uint64_t base)
{
	const struct sd_probe_point nowhere = { 0 };

	for_set(cpu, &nowhere, set, base, true);
}

static bool word_of(unsigned cpu, const struct sd_operand *o, uint64_t *ret)
{
	switch (o->from) {
	case SD_FROM_REG:
		*ret = sd_reg(cpu, o->reg);
		return true;
	case SD_FROM_KEPT:
		return sd_kept(sd_reg(cpu, o->reg), ret);
	default:
		*ret = o->number;
		return true;
	}
}

/* Frames are freed or allocated. NULL in place of a structure, an array: nothing was. */
static void frames(unsigned cpu, const struct sd_probe_point *p, unsigned i)
{
	uint8_t what = p->action[i].what;
	bool freed = what != SD_ACT_ALLOCATED && what != SD_ACT_ALLOCATED_ARRAY;
	struct sd_pages_at at = { .pc = p->pc,
				  .cpu = cpu,
				  .id = p->id,
				  .kind = freed ? SD_KIND_PAGE_FREED : SD_KIND_PAGE_ALLOCATED };
	uint64_t va, other;

	if (!word_of(cpu, &p->action[i].word, &va)) {
		sd_cpus[cpu].lost++;
		return;
	}
	if (!va)
		return;
	if (!word_of(cpu, &p->action[i].other, &other))
		sd_cpus[cpu].lost++;
	else if (what == SD_ACT_FREED || what == SD_ACT_ALLOCATED)
		sd_pages_block(&at, va, other);
	else if (what == SD_ACT_FREED_LIST)
		sd_pages_list(&at, va, other);
	else if (what == SD_ACT_ALLOCATED_ARRAY)
		sd_pages_array(&at, va, other);
	else if (sd_kernel_word(va, 1, &other)) /* a byte in front of the array counts */
		sd_pages_array(&at, va + p->action[i].other.number, other);
	else
		sd_cpus[cpu].lost++;
}

void sd_probe_hit(unsigned cpu, const struct sd_probe_point *p)
{
	for (unsigned i = 0; i < p->nactions; i++) {
		uint64_t reg = p->action[i].reg == SD_NO_REG ? 0 : sd_reg(cpu, p->action[i].reg);
		uint64_t off;

		switch (p->action[i].what) {
		case SD_ACT_EMIT:
			emit(cpu, p, SD_KIND_PROBE, 0);
			break;
		case SD_ACT_ENTER:
			emit(cpu, p, SD_KIND_ENTER, 0);
			break;
		case SD_ACT_EXIT:
			emit(cpu, p, SD_KIND_EXIT, 0);
			break;
		case SD_ACT_TAIL:
			emit(cpu, p, SD_KIND_EXIT, SD_FLAG_TAIL);
			break;
		case SD_ACT_WATCH:
		case SD_ACT_UNWATCH:
			if (reg) /* NULL: nothing was allocated, nothing is given back */
				for_set(cpu, p, p->action[i].set, reg,
					p->action[i].what == SD_ACT_WATCH);
			break;
		case SD_ACT_FORGET_ROOT:
			off = sd_va_to_off(reg);
			if (off != UINT64_MAX)
				sd_root_forget(cpu, p->pc, sd_off_to_pa(off));
			break;
		case SD_ACT_KEEP:
			sd_keep(reg, sd_reg(cpu, p->action[i].word.reg));
			break;
		default:
			frames(cpu, p, i);
			break;
		}
	}
}
