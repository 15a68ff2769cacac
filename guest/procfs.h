/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the kernel says of the calling process and of its own counters, most of it in /proc. */
#ifndef PROCFS_H
#define PROCFS_H

#include <stdint.h>

/* VMAs of the calling process; the gate page of x86, which is none, is left out. */
uint64_t procfs_vmas(void);

/* Those of them that have the flag @name of two letters in /proc/self/smaps. */
uint64_t procfs_flagged(const char *name);

/* Page faults of the calling process so far. */
uint64_t procfs_faults(void);

/* Make every private page that the process may write its own: no fork's sharing is left. */
void procfs_populate(void);

/* Add up what the CPUs have counted by themselves, so that vmstat is exact. */
void procfs_refresh(void);

/* The counter @name of /proc/vmstat; 0 when the kernel has none. */
uint64_t procfs_vmstat(const char *name);

#endif
