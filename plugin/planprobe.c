/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The plan's directive `probe`: where, what to do there, and what to capture. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch.h"
#include "planline.h"

/* REG, or REG+OFFSET:SIZE */
static bool parse_capture(const struct sd_line *l, char *word, struct sd_capture *c)
{
	char *plus = strpbrk(word, "+-"), *colon = strchr(word, ':');
	uint64_t offset = 0, size = 0;

	if (plus && colon && plus < colon) {
		bool minus = *plus == '-';

		*plus = *colon = 0;
		if (!sd_plan_number(plus + 1, &offset) || !sd_plan_number(colon + 1, &size) ||
		    !size || size > 8)
			return sd_plan_bad(l, "not a capture");
		c->offset = minus ? -(int64_t)offset : (int64_t)offset;
	} else if (plus || colon) {
		return sd_plan_bad(l, "not a capture");
	}
	c->size = (uint8_t)size;
	c->reg = (uint8_t)sd_reg_index(word);
	return c->reg != SD_NO_REG || sd_plan_bad(l, "no such register");
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
static bool parse_operand(const struct sd_line *l, unsigned at, struct sd_operand *o)
{
	const char *s = at < l->n ? l->w[at] : "";

	*o = (struct sd_operand){ .from = SD_FROM_NUMBER };
	if (sd_plan_number(s, &o->number))
		return true;
	o->from = g_str_has_prefix(s, "kept:") ? SD_FROM_KEPT : SD_FROM_REG;
	o->reg = (uint8_t)sd_reg_index(o->from == SD_FROM_KEPT ? s + strlen("kept:") : s);
	return o->reg != SD_NO_REG || sd_plan_bad(l, "no such register");
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
static bool parse_frames(const struct sd_line *l, unsigned at, struct sd_probe_point *p)
{
	unsigned n = p->nactions;

	if (p->action[n].what != SD_ACT_KEEP) {
		sd_pages_follow();
		return parse_operand(l, at, &p->action[n].word) &&
		       parse_operand(l, at + 1, &p->action[n].other);
	}
	return sd_plan_register(l, at, &p->action[n].reg) &&
	       sd_plan_register(l, at + 1, &p->action[n].word.reg);
}

bool sd_plan_probe(const struct sd_line *l)
{
	struct sd_probe_point p = { 0 };
	uint64_t v[2], set;
	unsigned i = 3;

	if (!sd_plan_numbers(l, 1, 2, v))
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
			if (!sd_plan_numbers(l, i + 1, 1, &set) || !sd_plan_register(l, i + 2, reg))
				return false;
			p.action[p.nactions].set = (uint8_t)set;
			i += 3;
		} else if (!strcmp(l->w[i], "forget_root")) {
			p.action[p.nactions].what = SD_ACT_FORGET_ROOT;
			if (!sd_plan_register(l, i + 1, reg))
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
			return sd_plan_bad(l, "too many captures");
		if (!parse_capture(l, l->w[i], &p.capture[p.ncaptures]))
			return false;
	}
	sd_probe_add(&p);
	return true;
}
