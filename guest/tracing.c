// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Lines of the trace (include/trace/events/mmap_lock.h and tlb.h of the kernel) end in
 *
 *	mmap_lock_acquire_returned: mm=... memcg_path=... write=true success=true
 *	mmap_lock_released: mm=... memcg_path=... write=true
 *	tlb_flush: pages:16 reason:local mm shootdown (3)
 */
#include "tracing.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "arch.h"
#include "workload.h"

#define TRACING "/sys/kernel/tracing/"

/* Reason 0 is TLB_FLUSH_ON_TASK_SWITCH: the scheduler's, not the workload's. */
static const char switch_reason[] = "(0)";

static int switch_file = -1;
static bool has_tlb;

static bool put(const char *path, const char *text)
{
	int file = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	bool done = file >= 0 && write(file, text, strlen(text)) == (ssize_t)strlen(text);

	if (file >= 0)
		close(file);
	return done;
}

static void set_recording(bool on)
{
	if (pwrite(switch_file, on ? "1" : "0", 1, 0) != 1)
		die("tracing_on");
}

bool tracing_open(void)
{
	char thread[16];

	snprintf(thread, sizeof(thread), "%ld", syscall(SYS_gettid));
	switch_file = open(TRACING "tracing_on", O_WRONLY | O_CLOEXEC);
	if (switch_file < 0)
		return false;
	set_recording(false);
	if (!put(TRACING "set_event_pid", thread) ||
	    !put(TRACING "events/mmap_lock/mmap_lock_acquire_returned/enable", "1") ||
	    !put(TRACING "events/mmap_lock/mmap_lock_released/enable", "1")) {
		tracing_close();
		return false;
	}
	has_tlb = ARCH_TRACES_TLB && put(TRACING "events/tlb/tlb_flush/enable", "1");
	return true;
}

void tracing_close(void)
{
	put(TRACING "events/enable", "0");
	put(TRACING "set_event_pid", "");
	close(switch_file);
	switch_file = -1;
}

bool tracing_has_tlb(void)
{
	return has_tlb;
}

void tracing_start(void)
{
	if (!put(TRACING "trace", "")) /* opening it for writing clears it */
		die("clear the trace");
	set_recording(true);
}

static void count_flush(const char *line, struct tracing_counts *counts)
{
	const char *pages = strstr(line, "pages:");
	long number = pages ? atol(pages + strlen("pages:")) : 0;

	if (strstr(line, switch_reason))
		return;
	counts->tlb_flush_events++;
	if (number < 0)
		counts->tlb_flush_full++;
	else
		counts->tlb_flush_pages += number;
}

static void count_line(const char *line, struct tracing_counts *counts)
{
	bool write = strstr(line, "write=true") != NULL;

	if (*line == '#') /* the header */
		return;
	if (strstr(line, "mmap_lock_acquire_returned:")) {
		if (strstr(line, "success=false"))
			return;
		counts->lock_acquired_write += write;
		counts->lock_acquired_read += !write;
	} else if (strstr(line, "mmap_lock_released:")) {
		counts->lock_released++;
	} else if (strstr(line, "tlb_flush:")) {
		count_flush(line, counts);
	} else {
		/* LOST EVENTS, or something nobody asked for: never count on it silently. */
		die("unexpected in the trace: %.80s", line);
	}
}

struct tracing_counts tracing_stop(void)
{
	struct tracing_counts counts = { 0 };
	char line[512];
	FILE *trace;

	set_recording(false);
	trace = fopen(TRACING "trace", "re");
	if (!trace)
		die("read the trace");
	while (fgets(line, sizeof(line), trace))
		count_line(line, &counts);
	fclose(trace);
	return counts;
}
