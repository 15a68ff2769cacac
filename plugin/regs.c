/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guest registers, by the names gdb gives them. */
#include <stdio.h>
#include <string.h>

#include "arch.h"
#include "memory.h"

const struct sd_arch *sd_arch;
bool sd_single, sd_parallel;
static struct qemu_plugin_register *handles[SD_MAX_REGS];

unsigned sd_reg_index(const char *name)
{
	for (unsigned i = 0; sd_arch->regs[i]; i++)
		if (!strcmp(sd_arch->regs[i], name))
			return i;
	return SD_NO_REG;
}

bool sd_regs_find(void)
{
	g_autoptr(GArray) list = qemu_plugin_get_registers();

	for (unsigned i = 0; sd_arch->regs[i]; i++) {
		for (unsigned j = 0; j < list->len && !handles[i]; j++) {
			qemu_plugin_reg_descriptor *d =
				&g_array_index(list, qemu_plugin_reg_descriptor, j);

			if (!strcmp(d->name, sd_arch->regs[i]))
				handles[i] = d->handle;
		}
		if (!handles[i]) {
			fprintf(stderr, "shootdown: QEMU offers no register %s\n",
				sd_arch->regs[i]);
			return false;
		}
	}
	return true;
}

static uint64_t offsets[SD_MAX_CPUS];

void sd_self_offsets(unsigned cpu, uint64_t array)
{
	for (unsigned i = 0; i < sd_ncpus; i++)
		if (!sd_read_va(cpu, array + 8ull * i, &offsets[i], sizeof(offsets[i])))
			offsets[i] = 0;
}

unsigned sd_self_by_offset(unsigned hint)
{
	for (unsigned r = 0; r < G_N_ELEMENTS(sd_arch->percpu); r++) {
		uint64_t offset = sd_reg(0, sd_arch->percpu[r]); /* one thread: any scratch does */

		for (unsigned i = 0; i < sd_ncpus; i++)
			if (offset && offset == offsets[i])
				return i;
	}
	return hint < sd_ncpus ? hint : 0;
}

uint64_t sd_reg(unsigned cpu, unsigned index)
{
	GByteArray *buf = sd_cpus[cpu].scratch;
	uint64_t value = 0;

	g_byte_array_set_size(buf, 0);
	int n = qemu_plugin_read_register(handles[index], buf);

	if (n > 0)
		memcpy(&value, buf->data, MIN(n, (int)sizeof(value)));
	return value;
}
