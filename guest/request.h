/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From the words of a `run` line to a job. */
#ifndef REQUEST_H
#define REQUEST_H

#include "workload.h"

#include <stdbool.h>

enum { PROBLEM_BYTES = 256 };

/*
 * Understand `NAME ITERATIONS SEED [KEY=VALUE...]` in @words, ended by NULL. Returns NULL and
 * fills @job, or returns one sentence that says what is wrong, kept in @problem.
 */
const char *request_parse(char **words, struct job *job, char problem[PROBLEM_BYTES]);

/* All of @text as a number, in C's notation. Returns false when it is none. */
bool parse_number(const char *text, uint64_t *value);

#endif
