/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Words of a plan: numbers, and terms that are evaluated in the guest. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch.h"
#include "planline.h"

bool sd_plan_bad(const struct sd_line *l, const char *why)
{
	fprintf(stderr, "shootdown: %s line %u: %s\n", l->path, l->nr, why);
	return false;
}

bool sd_plan_number(const char *s, uint64_t *ret)
{
	char *end;

	errno = 0;
	*ret = strtoull(s, &end, 0);
	return *s && !*end && !errno;
}

bool sd_plan_numbers(const struct sd_line *l, unsigned from, unsigned count, uint64_t *ret)
{
	if (l->n < from + count)
		return sd_plan_bad(l, "too few words");
	for (unsigned i = 0; i < count; i++)
		if (!sd_plan_number(l->w[from + i], &ret[i]))
			return sd_plan_bad(l, "not a number");
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

bool sd_plan_term(const struct sd_line *l, unsigned at, struct sd_term *t)
{
	if (at >= l->n)
		return sd_plan_bad(l, "too few words");

	const char *s = l->w[at];

	t->n = 0;
	while (*s) {
		char *end;

		if (t->n == SD_MAX_TERM)
			return sd_plan_bad(l, "a term has too many parts");
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
			return sd_plan_bad(l, "not a term");
		s = end;
		t->n++;
	}
	return t->n > 0 || sd_plan_bad(l, "not a term");
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

bool sd_plan_register(const struct sd_line *l, unsigned at, uint8_t *ret)
{
	unsigned reg = at < l->n ? sd_reg_index(l->w[at]) : SD_NO_REG;

	*ret = (uint8_t)reg;
	return reg != SD_NO_REG || sd_plan_bad(l, "no such register");
}
