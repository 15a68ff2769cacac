/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SD_TRACE_H
#define SD_TRACE_H

#include "sd.h"

/* Open one file per vCPU below @dir; false (with a line on stderr) on failure. */
bool sd_trace_open(const char *dir, unsigned ncpus);
/* Note in every file what KASLR has added to the addresses of the kernel's image. */
void sd_trace_slide(uint64_t slide);
/* Write what is buffered; by the buffer's owner (live.h). */
void sd_trace_flush(struct sd_cpu *c);
/* Write what is buffered and the trailers, and close. */
void sd_trace_close(void);

/*
 * Append a record and draw its number. Called by the vCPU's own thread only.
 * The number is drawn here, after the access it describes.
 */
void sd_emit(unsigned cpu, const struct sd_event *ev);

/*
 * Count a block's instructions when it runs: inline, per vCPU; with thread=single
 * by a callback, because QEMU 10.0's inline operations then overwrite a constant
 * of the block (accel/tcg/plugin-gen.c, gen_plugin_u64_ptr) and break the guest.
 */
void sd_icount_instrument(struct qemu_plugin_tb *tb);
#endif
