/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The plan's directives `delay`, `delay_seed` and `rank`. */
#include <string.h>

#include "delay.h"
#include "planline.h"

static bool parse_class(const struct sd_line *l, unsigned at, uint8_t *ret)
{
	static const struct {
		const char *name;
		uint8_t bits;
	} classes[] = { { "none", SD_ENTRY_NONE },
			{ "readonly", SD_ENTRY_READONLY },
			{ "writable", SD_ENTRY_WRITABLE },
			{ "present", SD_ENTRY_READONLY | SD_ENTRY_WRITABLE },
			{ "any", SD_ENTRY_NONE | SD_ENTRY_READONLY | SD_ENTRY_WRITABLE } };

	for (unsigned i = 0; at < l->n && i < G_N_ELEMENTS(classes); i++)
		if (!strcmp(classes[i].name, l->w[at])) {
			*ret = classes[i].bits;
			return true;
		}
	return sd_plan_bad(l, "no class of entries");
}

/* chance MILLIONTHS MIN OCTAVES LIMIT, or rank STEP LIMIT */
static bool parse_law(const struct sd_line *l, unsigned at, struct sd_delay_point *p)
{
	const char *law = at < l->n ? l->w[at] : "";
	uint64_t v[4];

	p->ranked = !strcmp(law, "rank");
	if (p->ranked) {
		if (!sd_plan_numbers(l, at + 1, 2, v))
			return false;
		p->min = v[0];
		p->limit = v[1];
		return (v[0] && v[0] <= SD_MAX_DELAY_NS) || sd_plan_bad(l, "no such delay");
	}
	if (strcmp(law, "chance"))
		return sd_plan_bad(l, "neither chance nor rank");
	if (!sd_plan_numbers(l, at + 1, 4, v))
		return false;
	if (v[0] > SD_MILLION || !v[1] || v[2] > SD_MAX_OCTAVES ||
	    v[1] > (uint64_t)SD_MAX_DELAY_NS >> v[2])
		return sd_plan_bad(l, "no such delay");
	p->chance = (uint32_t)v[0];
	p->min = v[1];
	p->octaves = (uint8_t)v[2];
	p->limit = v[3];
	return true;
}

/* delay ID exec PC LAW, delay ID root LAW, or delay ID pte OLD NEW window|any LAW */
static bool parse_delay(const struct sd_line *l)
{
	struct sd_delay_point p = { 0 };
	uint64_t id;
	unsigned law = 4;

	if (!sd_plan_numbers(l, 1, 1, &id))
		return false;
	if (id > UINT16_MAX || l->n < 4)
		return sd_plan_bad(l, "not a delay");
	p.id = (uint16_t)id;
	if (!strcmp(l->w[2], "exec")) {
		if (!sd_plan_numbers(l, 3, 1, &p.pc))
			return false;
		if (!(p.pc >> 63))
			return sd_plan_bad(l, "no instruction of the kernel");
	} else if (!strcmp(l->w[2], "pte")) {
		if (!parse_class(l, 3, &p.old) || !parse_class(l, 4, &p.new))
			return false;
		p.window = l->n > 5 && !strcmp(l->w[5], "window");
		if (!p.window && (l->n < 6 || strcmp(l->w[5], "any")))
			return sd_plan_bad(l, "neither window nor any");
		law = 6;
	} else if (!strcmp(l->w[2], "root")) {
		p.root = true;
		law = 3;
	} else {
		return sd_plan_bad(l, "neither exec, root nor pte");
	}
	return parse_law(l, law, &p) && (sd_delay_add(&p) || sd_plan_bad(l, "too many delays"));
}

bool sd_plan_delay(const struct sd_line *l)
{
	uint64_t v[3];

	if (!strcmp(l->w[0], "delay"))
		return parse_delay(l);
	if (!strcmp(l->w[0], "delay_seed")) {
		if (!sd_plan_numbers(l, 1, 1, v))
			return false;
		sd_delay_seed(v[0]);
		return true;
	}
	return sd_plan_numbers(l, 1, 3, v) &&
	       (sd_delay_rank(v[0], v[1], v[2]) || sd_plan_bad(l, "no such rank"));
}
