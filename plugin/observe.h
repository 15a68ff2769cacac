/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SD_OBSERVE_H
#define SD_OBSERVE_H

#include "sd.h"

/* User loads and stores inside the ranges that the guest declared by marks. */
void sd_observe_access(unsigned cpu, qemu_plugin_meminfo_t info, uint64_t va, void *pc);
/* A mark ran: record it, and begin or end a range. */
void sd_observe_mark(unsigned cpu, uint64_t pc, uint16_t op, const uint64_t arg[4]);
/* Write the counts that are still open. */
/* Whether a workload has declared the VA. */
bool sd_observe_declared(uint64_t va);
void sd_observe_finish(void);

#endif
