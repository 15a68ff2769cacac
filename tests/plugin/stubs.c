/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the trace writer wants of QEMU, where there is none. */
#include <qemu-plugin.h>
#include <stddef.h>

qemu_plugin_vcpu_simple_cb_t stub_idle; /* what to call when a vCPU goes idle */

void qemu_plugin_register_vcpu_idle_cb(qemu_plugin_id_t id, qemu_plugin_vcpu_simple_cb_t cb)
{
	(void)id;
	stub_idle = cb;
}

struct qemu_plugin_scoreboard *qemu_plugin_scoreboard_new(size_t element_size)
{
	(void)element_size;
	return NULL;
}

uint64_t qemu_plugin_u64_sum(qemu_plugin_u64 entry)
{
	(void)entry;
	return 0;
}

size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb)
{
	(void)tb;
	return 0;
}

void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb, qemu_plugin_vcpu_udata_cb_t cb,
					  enum qemu_plugin_cb_flags flags, void *userdata)
{
	(void)tb;
	(void)cb;
	(void)flags;
	(void)userdata;
}

void qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(struct qemu_plugin_tb *tb,
						       enum qemu_plugin_op op,
						       qemu_plugin_u64 entry, uint64_t imm)
{
	(void)tb;
	(void)op;
	(void)entry;
	(void)imm;
}
