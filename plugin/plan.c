/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The plan: what Python derived from the kernel image. Grammar: docs/architecture.md. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch.h"
#include "plan.h"
#include "resume.h"

enum { MAX_WORDS = 32 };

struct line {
	const char *path;
	unsigned nr, n;
	char *w[MAX_WORDS];
};

static bool bad(const struct line *l, const char *why)
{
	fprintf(stderr, "shootdown: %s line %u: %s\n", l->path, l->nr, why);
	return false;
}

static bool number(const char *s, uint64_t *ret)
{
	char *end;

	errno = 0;
	*ret = strtoull(s, &end, 0);
	return *s && !*end && !errno;
}

static bool numbers(const struct line *l, unsigned from, unsigned count, uint64_t *ret)
{
	if (l->n < from + count)
		return bad(l, "too few words");
	for (unsigned i = 0; i < count; i++)
		if (!number(l->w[from + i], &ret[i]))
			return bad(l, "not a number");
	return true;
}

/* `>>N`, `->OFFSET` and `&MASK` behind a word to read; where they end. */
static char *parse_suffixes(char *s, struct sd_term *t)
{
	uint8_t *n = &t->part[t->n].nfollow;

	for (;;) {
		if (g_str_has_prefix(s, ">>"))
			t->part[t->n].shift = strtoul(s + 2, &s, 10) & 63;
		else if (g_str_has_prefix(s, "->") && *n < SD_MAX_FOLLOW)
			t->part[t->n].follow[(*n)++] = strtoull(s + 2, &s, 0);
		else if (*s == '&')
			t->part[t->n].mask = strtoull(s + 1, &s, 0);
		else
			return s;
	}
}

static bool parse_term(const struct line *l, unsigned at, struct sd_term *t)
{
	if (at >= l->n)
		return bad(l, "too few words");

	const char *s = l->w[at];

	t->n = 0;
	while (*s) {
		char *end;

		if (t->n == SD_MAX_TERM)
			return bad(l, "a term has too many parts");
		t->part[t->n].minus = *s == '-';
		s += *s == '-' || *s == '+';
		t->part[t->n].deref = *s == '@';
		s += *s == '@';
		errno = 0;
		t->part[t->n].value = strtoull(s, &end, 0);
		t->part[t->n].shift = t->part[t->n].nfollow = 0;
		t->part[t->n].mask = 0;
		if (end != s && t->part[t->n].deref)
			end = parse_suffixes(end, t);
		if (end == s || errno || (*end && *end != '+' && *end != '-'))
			return bad(l, "not a term");
		s = end;
		t->n++;
	}
	return t->n > 0 || bad(l, "not a term");
}

bool sd_term_eval(unsigned cpu, const struct sd_term *t, uint64_t *ret)
{
	*ret = 0;
	for (unsigned i = 0; i < t->n; i++) {
		uint64_t v = sd_slid(t->part[i].value);

		if (t->part[i].deref && !sd_read_va(cpu, v, &v, sizeof(v)))
			return false;
		for (unsigned n = 0; n < t->part[i].nfollow; n++)
			if (!sd_read_va(cpu, v + t->part[i].follow[n], &v, sizeof(v)))
				return false;
		if (t->part[i].mask)
			v &= t->part[i].mask;
		v = (uint64_t)((int64_t)v >> t->part[i].shift);
		*ret += t->part[i].minus ? -v : v;
	}
	return true;
}

static bool parse_register(const struct line *l, unsigned at, uint8_t *ret)
{
	unsigned reg = at < l->n ? sd_reg_index(l->w[at]) : SD_NO_REG;

	*ret = (uint8_t)reg;
	return reg != SD_NO_REG || bad(l, "no such register");
}

/* REG, or REG+OFFSET:SIZE */
static bool parse_capture(const struct line *l, char *word, struct sd_capture *c)
{
	char *plus = strpbrk(word, "+-"), *colon = strchr(word, ':');
	uint64_t offset = 0, size = 0;

	if (plus && colon && plus < colon) {
		bool minus = *plus == '-';

		*plus = *colon = 0;
		if (!number(plus + 1, &offset) || !number(colon + 1, &size) || !size || size > 8)
			return bad(l, "not a capture");
		c->offset = minus ? -(int64_t)offset : (int64_t)offset;
	} else if (plus || colon) {
		return bad(l, "not a capture");
	}
	c->size = (uint8_t)size;
	c->reg = (uint8_t)sd_reg_index(word);
	return c->reg != SD_NO_REG || bad(l, "no such register");
}

/* Actions that are one word: they write an event. */
static bool event_action(const char *word, uint8_t *what)
{
	static const char *const names[] = { [SD_ACT_EMIT] = "emit",
					     [SD_ACT_ENTER] = "enter",
					     [SD_ACT_EXIT] = "exit",
					     [SD_ACT_TAIL] = "tail" };

	for (unsigned i = 0; i < G_N_ELEMENTS(names); i++)
		if (!strcmp(word, names[i])) {
			*what = (uint8_t)i;
			return true;
		}
	return false;
}

/* A number, REG, or kept:REG */
static bool parse_operand(const struct line *l, unsigned at, struct sd_operand *o)
{
	const char *s = at < l->n ? l->w[at] : "";

	*o = (struct sd_operand){ .from = SD_FROM_NUMBER };
	if (number(s, &o->number))
		return true;
	o->from = g_str_has_prefix(s, "kept:") ? SD_FROM_KEPT : SD_FROM_REG;
	o->reg = (uint8_t)sd_reg_index(o->from == SD_FROM_KEPT ? s + strlen("kept:") : s);
	return o->reg != SD_NO_REG || bad(l, "no such register");
}

/* Actions about frames: which they are, and what is known of them. */
static bool frame_action(const char *word, uint8_t *what)
{
	static const char *const names[] = { "keep",	   "freed",	"freed_array",
					     "freed_list", "allocated", "allocated_array" };

	for (unsigned i = 0; i < G_N_ELEMENTS(names); i++)
		if (!strcmp(word, names[i])) {
			*what = (uint8_t)(SD_ACT_KEEP + i);
			return true;
		}
	return false;
}

/* keep REG REG, and WHAT OPERAND OPERAND */
static bool parse_frames(const struct line *l, unsigned at, struct sd_probe_point *p)
{
	unsigned n = p->nactions;

	if (p->action[n].what != SD_ACT_KEEP) {
		sd_pages_follow();
		return parse_operand(l, at, &p->action[n].word) &&
		       parse_operand(l, at + 1, &p->action[n].other);
	}
	return parse_register(l, at, &p->action[n].reg) &&
	       parse_register(l, at + 1, &p->action[n].word.reg);
}

static bool parse_probe(const struct line *l)
{
	struct sd_probe_point p = { 0 };
	uint64_t v[2], set;
	unsigned i = 3;

	if (!numbers(l, 1, 2, v))
		return false;
	p.pc = v[0];
	p.id = (uint16_t)v[1];
	for (; i < l->n && p.nactions < SD_MAX_ACTIONS; p.nactions++) {
		uint8_t *reg = &p.action[p.nactions].reg;

		*reg = SD_NO_REG;
		if (event_action(l->w[i], &p.action[p.nactions].what)) {
			i += 1;
		} else if (!strcmp(l->w[i], "watch") || !strcmp(l->w[i], "unwatch")) {
			p.action[p.nactions].what = *l->w[i] == 'w' ? SD_ACT_WATCH : SD_ACT_UNWATCH;
			if (!numbers(l, i + 1, 1, &set) || !parse_register(l, i + 2, reg))
				return false;
			p.action[p.nactions].set = (uint8_t)set;
			i += 3;
		} else if (!strcmp(l->w[i], "forget_root")) {
			p.action[p.nactions].what = SD_ACT_FORGET_ROOT;
			if (!parse_register(l, i + 1, reg))
				return false;
			i += 2;
		} else if (frame_action(l->w[i], &p.action[p.nactions].what)) {
			if (!parse_frames(l, i + 1, &p))
				return false;
			i += 3;
		} else {
			break;
		}
	}
	for (; i < l->n; i++, p.ncaptures++) {
		if (p.ncaptures == SD_MAX_CAPTURES)
			return bad(l, "too many captures");
		if (!parse_capture(l, l->w[i], &p.capture[p.ncaptures]))
			return false;
	}
	sd_probe_add(&p);
	return true;
}

/* ID, OFFSET and SIZE of a word to watch. */
static bool parse_word(const struct line *l, unsigned at, struct sd_word *w)
{
	uint64_t v[3];

	if (!numbers(l, at, 3, v))
		return false;
	if (v[0] > UINT16_MAX || (v[2] != 1 && v[2] != 2 && v[2] != 4 && v[2] != 8))
		return bad(l, "not a word");
	w->id = (unsigned)v[0];
	w->offset = v[1];
	w->size = (unsigned)v[2];
	return true;
}

static bool parse_set(const struct line *l)
{
	struct sd_word w = { .root = l->n > 5 && !strcmp(l->w[5], "root"),
			     .always = l->n > 5 && !strcmp(l->w[5], "always"),
			     .via = l->n > 5 && !strcmp(l->w[5], "via") };
	uint64_t set;

	if (!numbers(l, 1, 1, &set) || !parse_word(l, 2, &w))
		return false;
	if (w.via && !numbers(l, 6, 1, &w.pointer))
		return false;
	w.set = (uint8_t)set;
	return (set <= UINT8_MAX && sd_probe_word(&w)) || bad(l, "too many sets or words");
}

static bool parse_watch(const struct line *l, struct sd_plan *p, bool percpu)
{
	if (p->nwatches == SD_MAX_STATIC)
		return bad(l, "too many watches");

	struct sd_static_watch *w = &p->watch[p->nwatches++];

	w->percpu = percpu;
	return parse_word(l, 1, &w->word) && numbers(l, 4, 1, percpu ? &w->array : &w->base);
}

static bool parse_arch(const struct line *l, const char *target)
{
	static const struct sd_arch *const all[] = { &sd_arch_x86_64, &sd_arch_arm64 };

	for (unsigned i = 0; l->n > 1 && i < G_N_ELEMENTS(all); i++)
		if (!strcmp(all[i]->name, l->w[1]) && !strcmp(all[i]->target, target))
			sd_arch = all[i];
	return sd_arch || bad(l, "the plan is for another architecture than QEMU emulates");
}

static bool parse_schema(const struct line *l, struct sd_plan *p)
{
	return numbers(l, 1, 1, &p->schema) &&
	       (p->schema == SD_VERSION || bad(l, "the plan is of another trace version"));
}

static bool parse_ram(const struct line *l, struct sd_plan *p)
{
	uint64_t v[2];

	if (!numbers(l, 1, 2, v))
		return false;
	p->ram_base = v[0];
	p->ram_size = v[1];
	return ((v[0] | v[1]) % SD_PAGE_SIZE == 0 && v[0] + v[1] >= v[0]) ||
	       bad(l, "RAM is no range of whole pages");
}

static bool parse_image(const struct line *l, struct sd_plan *p)
{
	uint64_t v[2];

	if (!numbers(l, 1, 2, v))
		return false;
	p->image_va = v[0];
	p->image_size = v[1];
	return parse_term(l, 3, &p->image_pa);
}

static bool parse_pages(const struct line *l, struct sd_plan *p)
{
	return parse_term(l, 1, &p->pages) && numbers(l, 2, 1, &p->page_bytes) &&
	       ((p->page_bytes >= 8 && p->page_bytes <= SD_PAGE_SIZE) || bad(l, "no such size"));
}

/* table_lock ID OFFSET SIZE LEVELS [pointer] */
static bool parse_table_lock(const struct line *l)
{
	struct sd_word w = { .always = true };
	uint64_t levels;

	if (!parse_word(l, 1, &w) || !numbers(l, 4, 1, &levels))
		return false;
	sd_tables_lock(&w, (unsigned)levels, l->n > 5 && !strcmp(l->w[5], "pointer"));
	return true;
}

/* compound FLAGS BIT ORDER */
static bool parse_compound(const struct line *l)
{
	uint64_t v[3];

	if (!numbers(l, 1, 3, v))
		return false;
	sd_pages_compound(v[0], (unsigned)v[1], v[2]);
	return true;
}

static bool parse_anchor(const struct line *l, struct sd_plan *p)
{
	uint64_t va;

	return numbers(l, 1, 1, &va) &&
	       ((l->n == 3 && sd_anchor_parse(&p->anchor, va, l->w[2])) || bad(l, "not an anchor"));
}

static bool parse_thread(const struct line *l, struct sd_plan *p)
{
	if (l->n < 2)
		return bad(l, "too few words");
	p->single = !strcmp(l->w[1], "single");
	return p->single || !strcmp(l->w[1], "multi") || bad(l, "neither single nor multi");
}

/* Of a restored guest: `resume`, `vcpu CPU REG VALUE`, `root VA`, `object SET VA`. */
static bool parse_resume(const struct line *l)
{
	const char *w = l->w[0];
	uint64_t v[2];
	uint8_t reg;

	sd_resuming = true;
	if (!strcmp(w, "vcpu"))
		return numbers(l, 1, 1, &v[0]) && parse_register(l, 2, &reg) &&
		       numbers(l, 3, 1, &v[1]) &&
		       (sd_resume_vcpu(v[0], reg, v[1]) || bad(l, "no root register of a vCPU"));
	if (!strcmp(w, "root"))
		return numbers(l, 1, 1, v) && sd_resume_root(v[0]);
	if (!strcmp(w, "object"))
		return numbers(l, 1, 2, v) &&
		       (sd_resume_object(v[0], v[1]) || bad(l, "no such set"));
	return true;
}

static bool is_resume(const char *w)
{
	return !strcmp(w, "resume") || !strcmp(w, "vcpu") || !strcmp(w, "root") ||
	       !strcmp(w, "object");
}

static bool parse(const struct line *l, const char *target, struct sd_plan *p)
{
	const char *w = l->w[0];
	uint64_t v[2] = { 0 };

	if (!strcmp(w, "schema"))
		return parse_schema(l, p);
	if (!strcmp(w, "arch"))
		return parse_arch(l, target);
	if (!sd_arch)
		return bad(l, "`arch` must come first");
	if (!strcmp(w, "linear"))
		return parse_term(l, 1, &p->linear_va) && parse_term(l, 2, &p->linear_pa);
	if (!strcmp(w, "image"))
		return parse_image(l, p);
	if (!strcmp(w, "anchor"))
		return parse_anchor(l, p);
	if (!strcmp(w, "thread"))
		return parse_thread(l, p);
	if (!strcmp(w, "probe"))
		return parse_probe(l);
	if (!strcmp(w, "set"))
		return parse_set(l);
	if (!strcmp(w, "watch") || !strcmp(w, "percpu_watch"))
		return parse_watch(l, p, *w == 'p');
	if (!strcmp(w, "ram"))
		return parse_ram(l, p);
	if (is_resume(w))
		return parse_resume(l);
	if (!strcmp(w, "pages"))
		return parse_pages(l, p);
	if (!strcmp(w, "table_lock"))
		return parse_table_lock(l);
	if (!strcmp(w, "compound"))
		return parse_compound(l);
	if (!numbers(l, 1, 1, v))
		return false;
	if (!strcmp(w, "start"))
		p->start = v[0];
	else if (!strcmp(w, "slow_table"))
		p->slow_table = v[0];
	else if (!strcmp(w, "percpu"))
		p->percpu = v[0];
	else if (!strcmp(w, "kernel_root"))
		p->kernel_root = v[0];
	else if (!strcmp(w, "slide"))
		p->slide = v[0];
	else if (!strcmp(w, "stack"))
		p->stack = (uint8_t)v[0];
	else if (!strcmp(w, "observe"))
		p->observe = v[0];
	else if (!strcmp(w, "test_drop_store"))
		p->drop_store = v[0];
	else if (!strcmp(w, "test_delay_us"))
		p->delay_us = v[0];
	else
		return bad(l, "unknown directive");
	return true;
}

void sd_plan_move(struct sd_plan *p, uint64_t slide)
{
	sd_slide = slide;
	sd_linked_va = p->image_va;
	sd_linked_size = p->image_size;
	p->start = sd_slid(p->start);
	p->kernel_root = sd_slid(p->kernel_root);
	p->slow_table = sd_slid(p->slow_table);
	p->percpu = sd_slid(p->percpu);
	p->image_va = sd_slid(p->image_va);
	for (unsigned i = 0; i < p->nwatches; i++) {
		struct sd_static_watch *w = &p->watch[i];

		w->word.offset = sd_slid(w->word.offset);
		w->base = sd_slid(w->base);
		w->array = sd_slid(w->array);
	}
	sd_probe_move();
}

static void split(struct line *l, char *text)
{
	char *save = NULL;

	l->n = 0;
	text[strcspn(text, "#\n")] = 0;
	for (char *w = strtok_r(text, " \t", &save); w && l->n < MAX_WORDS;
	     w = strtok_r(NULL, " \t", &save))
		l->w[l->n++] = w;
}

bool sd_plan_read(const char *path, const char *target, struct sd_plan *ret)
{
	FILE *f = fopen(path, "r");
	struct line l = { .path = path };
	bool ok = true;
	char text[1024];

	if (!f) {
		fprintf(stderr, "shootdown: cannot read %s: %s\n", path, strerror(errno));
		return false;
	}
	*ret = (struct sd_plan){ .observe = true };
	while (ok && fgets(text, sizeof(text), f)) {
		l.nr++;
		split(&l, text);
		ok = !l.n || parse(&l, target, ret);
	}
	fclose(f);
	sd_probes_seal();
	if (ok && (!ret->schema || !ret->start || !ret->ram_size || !ret->linear_va.n ||
		   !ret->linear_pa.n || !ret->kernel_root))
		return bad(&l, "schema, start, ram, linear or kernel_root is missing");
	if (ok && (sd_resuming || !ret->anchor.n))
		sd_plan_move(ret, ret->slide);
	return ok;
}
