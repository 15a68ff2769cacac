/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SD_PLANLINE_H
#define SD_PLANLINE_H

#include "plan.h"

enum { SD_MAX_LINE = 32 };

/* One line of the plan, in words. */
struct sd_line {
	const char *path;
	unsigned nr, n;
	char *w[SD_MAX_LINE];
};

/* Say on stderr what is wrong with a line; always false. */
bool sd_plan_bad(const struct sd_line *l, const char *why);

bool sd_plan_number(const char *s, uint64_t *ret);
/* @count numbers, from the word @from on. */
bool sd_plan_numbers(const struct sd_line *l, unsigned from, unsigned count, uint64_t *ret);
/* The term that is the word @at. */
bool sd_plan_term(const struct sd_line *l, unsigned at, struct sd_term *t);
/* The register that the word @at names. */
bool sd_plan_register(const struct sd_line *l, unsigned at, uint8_t *ret);
/* The whole directive `probe`. */
bool sd_plan_probe(const struct sd_line *l);
/* `delay`, `delay_seed` and `rank`. */
bool sd_plan_delay(const struct sd_line *l);

#endif
