/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SD_DELAYHOOK_H
#define SD_DELAYHOOK_H

#include "arch.h"

/*
 * Register the delays of an instruction of the kernel that is being translated. To be
 * called before other callbacks are registered, which run in this order: what is told
 * of an instruction should be told right before it runs.
 */
void sd_delay_instrument(struct qemu_plugin_insn *qi, const struct sd_insn *insn);

#endif
