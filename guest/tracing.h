/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the kernel itself says about the calling thread: its tracepoints mmap_lock:* and, where
 * the architecture calls it, tlb:tlb_flush. Everything here disturbs what it measures, so nothing is called
 * between the begin and the end of a phase.
 */
#ifndef TRACING_H
#define TRACING_H

#include <stdbool.h>
#include <stdint.h>

struct tracing_counts {
	/* A downgrade is told as a read acquisition, and ends with the one release of both. */
	uint64_t lock_acquired_write, lock_acquired_read, lock_released;
	uint64_t tlb_flush_events; /* address-space switches left out */
	uint64_t tlb_flush_pages;  /* sum over the events that name their pages */
	uint64_t tlb_flush_full;   /* events that flush everything */
};

/* Prepare the tracepoints for the calling thread. False when the kernel does not offer them. */
bool tracing_open(void);
void tracing_close(void);

/* Whether tlb:tlb_flush takes part. */
bool tracing_has_tlb(void);

/* Clear the buffer and record. */
void tracing_start(void);

/* Stop recording and count. */
struct tracing_counts tracing_stop(void);

#endif
