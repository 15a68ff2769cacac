/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SD_STORE_H
#define SD_STORE_H

#include "watch.h"

/* What the callbacks below get: the instruction, its operation and a register. */
void *sd_store_pack(uint64_t pc, uint8_t rmw, uint8_t reg);

/* Memory callbacks: a plain store; an atomic, both halves. */
void sd_on_store(unsigned cpu, qemu_plugin_meminfo_t info, uint64_t va, void *udata);
void sd_on_atomic(unsigned cpu, qemu_plugin_meminfo_t info, uint64_t va, void *udata);

#endif
