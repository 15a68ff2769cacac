/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The plan: what Python derived from the kernel image. Grammar: docs/architecture.md. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch.h"
#include "delay.h"
#include "plan.h"
#include "planline.h"
#include "resume.h"

/* ID, OFFSET and SIZE of a word to watch. */
static bool parse_word(const struct sd_line *l, unsigned at, struct sd_word *w)
{
	uint64_t v[3];

	if (!sd_plan_numbers(l, at, 3, v))
		return false;
	if (v[0] > UINT16_MAX || (v[2] != 1 && v[2] != 2 && v[2] != 4 && v[2] != 8))
		return sd_plan_bad(l, "not a word");
	w->id = (unsigned)v[0];
	w->offset = v[1];
	w->size = (unsigned)v[2];
	return true;
}

static bool parse_set(const struct sd_line *l)
{
	struct sd_word w = { .root = l->n > 5 && !strcmp(l->w[5], "root"),
			     .always = l->n > 5 && !strcmp(l->w[5], "always"),
			     .via = l->n > 5 && !strcmp(l->w[5], "via") };
	uint64_t set;

	if (!sd_plan_numbers(l, 1, 1, &set) || !parse_word(l, 2, &w))
		return false;
	if (w.via && !sd_plan_numbers(l, 6, 1, &w.pointer))
		return false;
	w.set = (uint8_t)set;
	return (set <= UINT8_MAX && sd_probe_word(&w)) || sd_plan_bad(l, "too many sets or words");
}

static bool parse_watch(const struct sd_line *l, struct sd_plan *p, bool percpu)
{
	if (p->nwatches == SD_MAX_STATIC)
		return sd_plan_bad(l, "too many watches");

	struct sd_static_watch *w = &p->watch[p->nwatches++];

	w->percpu = percpu;
	return parse_word(l, 1, &w->word) &&
	       sd_plan_numbers(l, 4, 1, percpu ? &w->array : &w->base);
}

static bool parse_arch(const struct sd_line *l, const char *target)
{
	static const struct sd_arch *const all[] = { &sd_arch_x86_64, &sd_arch_arm64 };

	for (unsigned i = 0; l->n > 1 && i < G_N_ELEMENTS(all); i++)
		if (!strcmp(all[i]->name, l->w[1]) && !strcmp(all[i]->target, target))
			sd_arch = all[i];
	return sd_arch || sd_plan_bad(l, "the plan is for another architecture than QEMU emulates");
}

static bool parse_schema(const struct sd_line *l, struct sd_plan *p)
{
	return sd_plan_numbers(l, 1, 1, &p->schema) &&
	       (p->schema == SD_VERSION || sd_plan_bad(l, "the plan is of another trace version"));
}

static bool parse_ram(const struct sd_line *l, struct sd_plan *p)
{
	uint64_t v[2];

	if (!sd_plan_numbers(l, 1, 2, v))
		return false;
	p->ram_base = v[0];
	p->ram_size = v[1];
	return ((v[0] | v[1]) % SD_PAGE_SIZE == 0 && v[0] + v[1] >= v[0]) ||
	       sd_plan_bad(l, "RAM is no range of whole pages");
}

static bool parse_image(const struct sd_line *l, struct sd_plan *p)
{
	uint64_t v[2];

	if (!sd_plan_numbers(l, 1, 2, v))
		return false;
	p->image_va = v[0];
	p->image_size = v[1];
	return sd_plan_term(l, 3, &p->image_pa);
}

static bool parse_pages(const struct sd_line *l, struct sd_plan *p)
{
	return sd_plan_term(l, 1, &p->pages) && sd_plan_numbers(l, 2, 1, &p->page_bytes) &&
	       ((p->page_bytes >= 8 && p->page_bytes <= SD_PAGE_SIZE) ||
		sd_plan_bad(l, "no such size"));
}

/* table_lock ID OFFSET SIZE LEVELS [pointer] */
static bool parse_table_lock(const struct sd_line *l)
{
	struct sd_word w = { .always = true };
	uint64_t levels;

	if (!parse_word(l, 1, &w) || !sd_plan_numbers(l, 4, 1, &levels))
		return false;
	sd_tables_lock(&w, (unsigned)levels, l->n > 5 && !strcmp(l->w[5], "pointer"));
	return true;
}

/* compound FLAGS BIT ORDER */
static bool parse_compound(const struct sd_line *l)
{
	uint64_t v[3];

	if (!sd_plan_numbers(l, 1, 3, v))
		return false;
	sd_pages_compound(v[0], (unsigned)v[1], v[2]);
	return true;
}

static bool parse_anchor(const struct sd_line *l, struct sd_plan *p)
{
	uint64_t va;

	return sd_plan_numbers(l, 1, 1, &va) &&
	       ((l->n == 3 && sd_anchor_parse(&p->anchor, va, l->w[2])) ||
		sd_plan_bad(l, "not an anchor"));
}

static bool parse_thread(const struct sd_line *l, struct sd_plan *p)
{
	if (l->n < 2)
		return sd_plan_bad(l, "too few words");
	p->single = !strcmp(l->w[1], "single");
	return p->single || !strcmp(l->w[1], "multi") || sd_plan_bad(l, "neither single nor multi");
}

/* Of a restored guest: `resume`, `vcpu CPU REG VALUE`, `root VA`, `object SET VA`. */
static bool parse_resume(const struct sd_line *l)
{
	const char *w = l->w[0];
	uint64_t v[2];
	uint8_t reg;

	sd_resuming = true;
	if (!strcmp(w, "vcpu"))
		return sd_plan_numbers(l, 1, 1, &v[0]) && sd_plan_register(l, 2, &reg) &&
		       sd_plan_numbers(l, 3, 1, &v[1]) &&
		       (sd_resume_vcpu(v[0], reg, v[1]) ||
			sd_plan_bad(l, "no root register of a vCPU"));
	if (!strcmp(w, "root"))
		return sd_plan_numbers(l, 1, 1, v) && sd_resume_root(v[0]);
	if (!strcmp(w, "object"))
		return sd_plan_numbers(l, 1, 2, v) &&
		       (sd_resume_object(v[0], v[1]) || sd_plan_bad(l, "no such set"));
	return true;
}

static bool is_resume(const char *w)
{
	return !strcmp(w, "resume") || !strcmp(w, "vcpu") || !strcmp(w, "root") ||
	       !strcmp(w, "object");
}

static bool parse(const struct sd_line *l, const char *target, struct sd_plan *p)
{
	const char *w = l->w[0];
	uint64_t v[2] = { 0 };

	if (!strcmp(w, "schema"))
		return parse_schema(l, p);
	if (!strcmp(w, "arch"))
		return parse_arch(l, target);
	if (!sd_arch)
		return sd_plan_bad(l, "`arch` must come first");
	if (!strcmp(w, "linear"))
		return sd_plan_term(l, 1, &p->linear_va) && sd_plan_term(l, 2, &p->linear_pa);
	if (!strcmp(w, "image"))
		return parse_image(l, p);
	if (!strcmp(w, "anchor"))
		return parse_anchor(l, p);
	if (!strcmp(w, "thread"))
		return parse_thread(l, p);
	if (!strcmp(w, "probe"))
		return sd_plan_probe(l);
	if (!strcmp(w, "delay") || !strcmp(w, "delay_seed") || !strcmp(w, "rank"))
		return sd_plan_delay(l);
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
	if (!sd_plan_numbers(l, 1, 1, v))
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
	else if (!strcmp(w, "live"))
		p->live_ms = v[0];
	else if (!strcmp(w, "test_drop_store"))
		p->drop_store = v[0];
	else if (!strcmp(w, "test_delay_us"))
		p->delay_us = v[0];
	else
		return sd_plan_bad(l, "unknown directive");
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
	sd_delay_move();
}

static void split(struct sd_line *l, char *text)
{
	char *save = NULL;

	l->n = 0;
	text[strcspn(text, "#\n")] = 0;
	for (char *w = strtok_r(text, " \t", &save); w && l->n < SD_MAX_LINE;
	     w = strtok_r(NULL, " \t", &save))
		l->w[l->n++] = w;
}

bool sd_plan_read(const char *path, const char *target, struct sd_plan *ret)
{
	FILE *f = fopen(path, "r");
	struct sd_line l = { .path = path };
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
	sd_delays_seal();
	if (ok && (!ret->schema || !ret->start || !ret->ram_size || !ret->linear_va.n ||
		   !ret->linear_pa.n || !ret->kernel_root))
		return sd_plan_bad(&l, "schema, start, ram, linear or kernel_root is missing");
	if (ok && ret->single && sd_delays_any())
		return sd_plan_bad(&l, "delays need a thread for each vCPU, `thread multi`");
	if (ok && (sd_resuming || !ret->anchor.n))
		sd_plan_move(ret, ret->slide);
	return ok;
}
