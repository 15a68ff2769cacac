/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest restored from a snapshot has address spaces, watched objects and loaded
 * roots whose coming the plugin did not see. The plan lists them, as they were
 * found in the saved memory. The vCPUs' registers are listed too: a vCPU may sleep
 * for long, and nobody can read its registers but itself.
 */
#include <stdio.h>
#include <stdlib.h>

#include "arch.h"
#include "probe.h"
#include "resume.h"

struct vcpu_root {
	unsigned cpu, reg;
	uint64_t value;
};

struct object {
	unsigned set;
	uint64_t base;
};

bool sd_resuming;
static GArray *vcpus, *roots, *objects;

static void append(GArray **array, const void *element, guint size)
{
	if (!*array)
		*array = g_array_new(false, false, size);
	g_array_append_vals(*array, element, 1);
}

bool sd_resume_vcpu(uint64_t cpu, unsigned reg, uint64_t value)
{
	struct vcpu_root r = { .cpu = (unsigned)cpu, .reg = reg, .value = value };

	append(&vcpus, &r, sizeof(r));
	return cpu < SD_MAX_CPUS && (reg == sd_arch->roots[0] || reg == sd_arch->roots[1]);
}

bool sd_resume_root(uint64_t va)
{
	append(&roots, &va, sizeof(va));
	return true;
}

bool sd_resume_object(uint64_t set, uint64_t base)
{
	struct object o = { .set = (unsigned)set, .base = base };

	append(&objects, &o, sizeof(o));
	return set <= UINT8_MAX;
}

/* What @cpu has in its register must be what was saved. */
static void compare(unsigned cpu, const struct vcpu_root *r)
{
	uint64_t value = sd_reg(cpu, r->reg);

	if (value == r->value)
		return;
	fprintf(stderr,
		"shootdown: %s of CPU %u is 0x%" G_GINT64_MODIFIER
		"x, the plan says 0x%" G_GINT64_MODIFIER "x: the plan is for another snapshot\n",
		sd_arch->regs[r->reg], cpu, value, r->value);
	exit(1);
}

/* One register of all vCPUs, that of @cpu aside, which was reported. */
static void report(unsigned cpu, unsigned reg)
{
	for (guint i = 0; vcpus && i < vcpus->len; i++) {
		const struct vcpu_root *r = &g_array_index(vcpus, struct vcpu_root, i);

		if (r->reg != reg)
			continue;
		if (r->cpu == cpu)
			compare(cpu, r);
		else if (r->cpu < sd_ncpus)
			sd_arch->loaded(r->cpu, r->reg, r->value);
	}
}

void sd_resume_roots(unsigned cpu)
{
	/* In the architecture's order: arm64's ASID is in one register, its tables in the other. */
	for (unsigned i = 0; i < G_N_ELEMENTS(sd_arch->roots); i++)
		report(cpu, sd_arch->roots[i]);
	for (guint i = 0; roots && i < roots->len; i++) {
		uint64_t off = sd_va_to_off(g_array_index(roots, uint64_t, i));

		if (off != UINT64_MAX)
			sd_root_learn(cpu, 0, sd_off_to_pa(off), false);
		else
			sd_cpus[cpu].lost++; /* a whole address space, in truth */
	}
}

void sd_resume_objects(unsigned cpu)
{
	for (guint i = 0; objects && i < objects->len; i++) {
		const struct object *o = &g_array_index(objects, struct object, i);

		sd_probe_watch(cpu, o->set, o->base);
	}
}
