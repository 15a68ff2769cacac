// SPDX-License-Identifier: GPL-2.0-or-later
#include "request.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Stamps count generations, two an iteration, in 36 bits. */
static const uint64_t max_iterations = 1000000000;

bool parse_number(const char *text, uint64_t *value)
{
	char *end;

	if (!isdigit((unsigned char)*text)) /* strtoull takes signs and blanks */
		return false;
	errno = 0;
	*value = strtoull(text, &end, 0);
	return !errno && *end == '\0';
}

static int find_option(const struct workload *workload, const char *name)
{
	for (int i = 0; i < MAX_OPTIONS && workload->options[i].name; i++)
		if (!strcmp(workload->options[i].name, name))
			return i;
	return -1;
}

static const char *parse_option(char *word, struct job *job, char *problem)
{
	char *equals = strchr(word, '=');
	const struct option_spec *option;
	int found;

	if (!equals) {
		snprintf(problem, PROBLEM_BYTES, "run: `%.40s` is not KEY=VALUE", word);
		return problem;
	}
	*equals = '\0';
	found = find_option(job->workload, word);
	if (found < 0) {
		snprintf(problem, PROBLEM_BYTES, "run: %s has no option `%.40s`",
			 job->workload->name, word);
		return problem;
	}
	option = &job->workload->options[found];
	if (!parse_number(equals + 1, &job->values[found]) || job->values[found] < option->min ||
	    job->values[found] > option->max) {
		snprintf(problem, PROBLEM_BYTES,
			 "run: %s is a number from %llu to %llu, not `%.40s`", option->name,
			 (unsigned long long)option->min, (unsigned long long)option->max,
			 equals + 1);
		return problem;
	}
	return NULL;
}

const char *request_parse(char **words, struct job *job, char problem[PROBLEM_BYTES])
{
	if (!words[0] || !words[1] || !words[2])
		return "run: needs NAME ITERATIONS SEED";
	memset(job, 0, sizeof(*job));
	job->workload = workload_find(words[0]);
	if (!job->workload) {
		snprintf(problem, PROBLEM_BYTES, "run: no workload is called `%.40s`", words[0]);
		return problem;
	}
	if (!parse_number(words[1], &job->iterations) || !job->iterations ||
	    job->iterations > max_iterations) {
		snprintf(problem, PROBLEM_BYTES,
			 "run: ITERATIONS is a number from 1 to %llu, not `%.40s`",
			 (unsigned long long)max_iterations, words[1]);
		return problem;
	}
	if (!parse_number(words[2], &job->seed)) {
		snprintf(problem, PROBLEM_BYTES, "run: SEED is a number of 64 bits, not `%.40s`",
			 words[2]);
		return problem;
	}
	for (int i = 0; i < MAX_OPTIONS && job->workload->options[i].name; i++)
		job->values[i] = job->workload->options[i].value;
	for (char **word = words + 3; *word; word++)
		if (parse_option(*word, job, problem))
			return problem;
	return NULL;
}
