/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The trace writer while somebody reads: CPUS threads stand for vCPUs, and write
 * EVENTS marks each into DIR; every PERIOD of them they go idle for a moment, and at
 * the end for good. Only then, when the files hold all marks, are they completed.
 *
 *   trace_live DIR CPUS EVENTS PERIOD multi|single
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "anchor.h"
#include "arch.h"
#include "live.h"
#include "trace.h"

extern qemu_plugin_vcpu_simple_cb_t stub_idle;

enum { INTERVAL_MS = 2, PATIENCE_MS = 60000 };

struct sd_cpu sd_cpus[SD_MAX_CPUS];
unsigned sd_ncpus;
bool sd_single, sd_parallel;
uint64_t sd_slide, sd_linked_va, sd_linked_size;

static unsigned long events, period;
static const char *dir;

static void mark(unsigned cpu, unsigned long i)
{
	sd_emit(cpu, &(struct sd_event){ .kind = SD_KIND_MARK, .a = i });
}

static gpointer vcpu(gpointer number)
{
	unsigned cpu = GPOINTER_TO_UINT(number);

	for (unsigned long i = 0; i < events; i++) {
		mark(cpu, i);
		if (i % period == 0) {
			stub_idle(0, cpu);
			g_usleep(i % 3 ? 0 : 100);
		}
	}
	stub_idle(0, cpu);
	return NULL;
}

/* With thread=single nobody says when a vCPU is idle; another one's record must do. */
static void all_in_one(void)
{
	for (unsigned long i = 0; i < events; i++)
		for (unsigned cpu = 0; cpu < sd_ncpus; cpu++)
			mark(cpu, i);
}

static bool written(unsigned cpu, unsigned long want)
{
	g_autofree char *path = g_strdup_printf("%s/cpu%u.trace", dir, cpu);
	struct stat st;

	return !stat(path, &st) && st.st_size >= (off_t)(SD_HEADER_BYTES + want * SD_RECORD_BYTES);
}

static bool all_written(void)
{
	for (unsigned ms = 0; ms < PATIENCE_MS; ms++) {
		bool all = true;

		for (unsigned cpu = sd_single; cpu < sd_ncpus; cpu++)
			all &= written(cpu, events);
		if (all)
			return true;
		g_usleep(1000);
		if (sd_single)
			mark(0, 0);
	}
	return false;
}

int main(int argc, char **argv)
{
	GThread *threads[SD_MAX_CPUS];

	if (argc != 6)
		return 2;
	dir = argv[1];
	sd_ncpus = (unsigned)atoi(argv[2]);
	events = strtoul(argv[3], NULL, 0);
	period = strtoul(argv[4], NULL, 0);
	sd_single = !strcmp(argv[5], "single");
	if (!sd_trace_open(dir, sd_ncpus))
		return 1;
	sd_live_start(0, INTERVAL_MS);
	if (sd_single)
		all_in_one();
	for (unsigned i = 0; !sd_single && i < sd_ncpus; i++)
		threads[i] = g_thread_new("vcpu", vcpu, GUINT_TO_POINTER(i));
	for (unsigned i = 0; !sd_single && i < sd_ncpus; i++)
		g_thread_join(threads[i]);
	if (!all_written()) {
		fprintf(stderr, "records stay in the buffers\n");
		return 1;
	}
	sd_trace_close();
	return 0;
}
