/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The disk that the host gave to workloads. */
#ifndef SCRATCH_H
#define SCRATCH_H

/* Open it to read and write, with more open @flags. Skips the workload when there is none. */
int scratch_open(int flags);

/* Have the kernel forget what it has cached of the disk open as @file. */
void scratch_forget(int file);

#endif
