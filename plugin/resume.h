/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SD_RESUME_H
#define SD_RESUME_H

#include "sd.h"

/* What the plan says of a guest that was restored: recording begins with its first block. */
extern bool sd_resuming;

/* The plan's directives; false when there is no room or the number makes no sense. */
bool sd_resume_vcpu(uint64_t cpu, unsigned reg, uint64_t value);
bool sd_resume_root(uint64_t va);
bool sd_resume_object(uint64_t set, uint64_t base);

/*
 * Called by @cpu, while no other vCPU runs: report the roots that the vCPUs have
 * loaded and learn those of all address spaces; then begin to watch what has been
 * watched since it came to be in a guest that was recorded from its boot on.
 */
void sd_resume_roots(unsigned cpu);
void sd_resume_objects(unsigned cpu);

#endif
