/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The plugin's delays on their own:
 *
 *   delay ARRIVALS < lines of a plan
 *
 * Every vCPU of three arrives that often at every point with an address, the vCPUs in
 * turn or, when ARRIVALS is negative, one after the other. Prints `CPU POINT ARRIVAL NS`
 * for each delay.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "anchor.h"
#include "arch.h"
#include "delay.h"
#include "observe.h"
#include "planline.h"
#include "trace.h"

enum { CPUS = 3 };

const struct sd_arch *sd_arch;
uint64_t sd_slide, sd_linked_va, sd_linked_size;

void sd_emit(unsigned cpu, const struct sd_event *ev)
{
	if (ev->kind != SD_KIND_DELAY || ev->b < ev->a)
		abort();
	printf("%u %u %" PRIu64 " %" PRIu64 "\n", cpu, ev->id, ev->c, ev->a);
}

bool sd_observe_declared(uint64_t va)
{
	(void)va;
	return true;
}

bool sd_plan_bad(const struct sd_line *l, const char *why)
{
	fprintf(stderr, "%u: %s\n", l->nr, why);
	exit(1);
}

bool sd_plan_number(const char *s, uint64_t *ret)
{
	*ret = strtoull(s, NULL, 0);
	return true;
}

bool sd_plan_numbers(const struct sd_line *l, unsigned from, unsigned count, uint64_t *ret)
{
	for (unsigned i = 0; i < count; i++)
		sd_plan_number(l->w[from + i], &ret[i]);
	return true;
}

static void read_plan(void)
{
	struct sd_line l = { 0 };
	char text[1024], *save;

	while (fgets(text, sizeof(text), stdin)) {
		l.nr++;
		l.n = 0;
		text[strcspn(text, "#\n")] = 0;
		for (char *w = strtok_r(text, " ", &save); w; w = strtok_r(NULL, " ", &save))
			l.w[l.n++] = w;
		if (l.n)
			sd_plan_delay(&l);
	}
	sd_delays_seal();
}

static void arrive(unsigned cpu)
{
	const struct sd_delay_point *p;

	for (uint64_t pc = UINT64_MAX; pc > UINT64_MAX - 16; pc--)
		for (unsigned n = 0; (p = sd_delay_at(pc, n)); n++)
			sd_delay_reached(cpu, p);
}

int main(int argc, char **argv)
{
	int arrivals = argc > 1 ? atoi(argv[1]) : 0;

	read_plan();
	arrive(0); /* in no phase: nobody is delayed, and nothing counts */
	sd_delay_phase(1);
	if (arrivals >= 0)
		for (int i = 0; i < CPUS * arrivals; i++)
			arrive((unsigned)i % CPUS);
	else
		for (int i = 0; i < CPUS * -arrivals; i++)
			arrive((unsigned)(i / -arrivals));
	return 0;
}
