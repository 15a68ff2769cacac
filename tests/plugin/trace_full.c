/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The trace writer where the disk is full: writes EVENTS marks into DIR as vCPU 0,
 * whose file may not grow beyond LIMIT bytes.
 *
 *   trace_full DIR EVENTS LIMIT
 */
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "anchor.h"
#include "arch.h"
#include "trace.h"

struct sd_cpu sd_cpus[SD_MAX_CPUS];
unsigned sd_ncpus = 1;
bool sd_single = true, sd_parallel;
uint64_t sd_slide, sd_linked_va, sd_linked_size;

int main(int argc, char **argv)
{
	struct rlimit limit;

	if (argc != 4 || !sd_trace_open(argv[1], sd_ncpus))
		return 2;
	limit.rlim_cur = limit.rlim_max = strtoull(argv[3], NULL, 0);
	signal(SIGXFSZ, SIG_IGN);
	if (setrlimit(RLIMIT_FSIZE, &limit))
		return 2;
	for (uint64_t i = strtoull(argv[2], NULL, 0); i; i--)
		sd_emit(0, &(struct sd_event){ .kind = SD_KIND_MARK, .a = i });
	sd_trace_close();
	return 0;
}
