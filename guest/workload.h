/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a workload is, and what it may call. */
#ifndef WORKLOAD_H
#define WORKLOAD_H

#include <stddef.h>
#include <stdint.h>

/* How a workload ends. */
enum {
	STATUS_OK = 0,
	STATUS_IMPOSSIBLE = 1, /* user space saw what no policy allows */
	STATUS_BROKEN = 2,     /* a system call failed that must not */
	STATUS_SKIPPED = 4,    /* it cannot run here */
};

enum { MAX_OPTIONS = 8 };

/* One KEY=VALUE of `run`; min <= value <= max. */
struct option_spec {
	const char *name;
	uint64_t value, min, max;
};

struct job;

struct workload {
	const char *name;
	const char *headline;			 /* the race it provokes, one line */
	int (*run)(const struct job *job);	 /* in a program of its own; returns its status */
	struct option_spec options[MAX_OPTIONS]; /* ends at the first without a name */
};

/* One request to run a workload. */
struct job {
	const struct workload *workload;
	uint64_t iterations, seed;
	uint64_t values[MAX_OPTIONS]; /* of workload->options, in their order */
};

/* Every workload, sorted by name, ended by NULL. */
extern const struct workload *const workloads[];

/* The workload called @name, or NULL. */
const struct workload *workload_find(const char *name);

/* Value of the option @name; naming one that does not exist is a bug and dies. */
uint64_t job_option(const struct job *job, const char *name);

/* Run @job in this process, which is to end with the returned status. */
int job_run(const struct job *job);

/* Report `stat NAME KEY VALUE`; KEY is formatted. */
void report(uint64_t value, const char *key, ...) __attribute__((format(printf, 2, 3)));

/* Report `note TEXT` (with errno in words, when set) and end the process: STATUS_BROKEN. */
void die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* Report `note TEXT` and end the process: STATUS_SKIPPED, what it needs is not there. */
void skip(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

#endif
