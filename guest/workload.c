// SPDX-License-Identifier: GPL-2.0-or-later
#include "workload.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "channel.h"

extern const struct workload churn, collapse, counting, counting_events, counting_tables, direct,
	drop_move, fork_cow, ipis, ksm, lazy, madvise_dontneed, map_fixed, mprotect_flip,
	mremap_move, munmap_remap, pageout, pinned_fork, table_walk, touch;

const struct workload *const workloads[] = {
	&churn,
	&collapse,
	&counting,
	&counting_events,
	&counting_tables,
	&direct,
	&drop_move,
	&fork_cow,
	&ipis,
	&ksm,
	&lazy,
	&madvise_dontneed,
	&map_fixed,
	&mprotect_flip,
	&mremap_move,
	&munmap_remap,
	&pageout,
	&pinned_fork,
	&table_walk,
	&touch,
	NULL,
};

static const char *running = "init";

const struct workload *workload_find(const char *name)
{
	for (const struct workload *const *each = workloads; *each; each++)
		if (!strcmp((*each)->name, name))
			return *each;
	return NULL;
}

uint64_t job_option(const struct job *job, const char *name)
{
	for (int i = 0; i < MAX_OPTIONS && job->workload->options[i].name; i++)
		if (!strcmp(job->workload->options[i].name, name))
			return job->values[i];
	errno = 0;
	die("no option %s", name);
}

int job_run(const struct job *job)
{
	int status;

	running = job->workload->name;
	status = job->workload->run(job);
	report(job->iterations, "iterations");
	return status;
}

void report(uint64_t value, const char *key, ...)
{
	char text[64];
	va_list args;

	va_start(args, key);
	vsnprintf(text, sizeof(text), key, args);
	va_end(args);
	say("stat %s %s %llu", running, text, (unsigned long long)value);
}

void die(const char *format, ...)
{
	int error = errno;
	char text[256];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (error)
		say("note %s: %s: %s", running, text, strerror(error));
	else
		say("note %s: %s", running, text);
	_exit(STATUS_BROKEN);
}

void skip(const char *format, ...)
{
	char text[256];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	say("note %s: %s", running, text);
	_exit(STATUS_SKIPPED);
}
