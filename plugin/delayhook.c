/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where in translated code vCPUs may be delayed. */
#include "delayhook.h"
#include "delay.h"

/*
 * Instructions behind loads of roots. Such a load ends its block, so the one behind it
 * is translated later. Far more places than a kernel has.
 */
static uint64_t behind[256];

static void add_behind(uint64_t pc)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(behind); i++) {
		uint64_t found = 0;

		if (__atomic_compare_exchange_n(&behind[i], &found, pc, false, __ATOMIC_RELAXED,
						__ATOMIC_RELAXED) ||
		    found == pc)
			return;
	}
}

static bool is_behind(uint64_t pc)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(behind); i++) {
		uint64_t found = __atomic_load_n(&behind[i], __ATOMIC_RELAXED);

		if (!found || found == pc)
			return found;
	}
	return false;
}

static void on_delay(unsigned cpu, void *udata)
{
	if (sd_is_armed())
		sd_delay_reached(cpu, udata);
}

static void on_behind(unsigned cpu, void *pc)
{
	if (sd_is_armed())
		sd_delay_after_root(cpu, (uintptr_t)pc);
}

void sd_delay_instrument(struct qemu_plugin_insn *qi, const struct sd_insn *insn)
{
	const struct sd_delay_point *p;

	for (unsigned n = 0; (p = sd_delay_at(insn->pc, n)); n++)
		qemu_plugin_register_vcpu_insn_exec_cb(qi, on_delay, QEMU_PLUGIN_CB_NO_REGS,
						       (void *)p);
	if (G_LIKELY(!sd_delay_roots()))
		return;
	if (is_behind(insn->pc))
		qemu_plugin_register_vcpu_insn_exec_cb(qi, on_behind, QEMU_PLUGIN_CB_NO_REGS,
						       (void *)(uintptr_t)insn->pc);
	if (insn->kind == SD_INSN_EXEC && sd_arch->loads_root(insn))
		add_behind(insn->pc + qemu_plugin_insn_size(qi));
}
