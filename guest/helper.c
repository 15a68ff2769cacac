// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * `init WORD [ARG]`: bad endings on demand, so that the host's handling of them can be tested on
 * a real guest (`exec /init panic`); `swapon DEVICE`; `serve TTY`, the agent's loop without the
 * machine; and `job`, by which the agent starts a workload.
 */
#include "helper.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/swap.h>
#include <unistd.h>

#include "agent.h"
#include "channel.h"
#include "request.h"

static int serve(const char *tty)
{
	if (!channel_open(tty)) {
		fprintf(stderr, "init: cannot open %s: %s\n", tty, strerror(errno));
		return 2;
	}
	agent_serve();
	return 0;
}

/* `job NAME ITERATIONS SEED [KEY=VALUE...]`, with the channel as descriptor JOB_CHANNEL. */
static int job_main(char **words)
{
	char problem[PROBLEM_BYTES];
	const char *wrong;
	struct job job;

	channel_adopt(JOB_CHANNEL);
	wrong = request_parse(words, &job, problem);
	if (!wrong)
		return job_run(&job);
	fprintf(stderr, "init: %s\n", wrong);
	return 2;
}

static int end_with(const char *status)
{
	return atoi(status);
}

static int die_of(const char *signal_number)
{
	raise(atoi(signal_number));
	return 2;
}

/* Panic the kernel; needs sysrq. */
static int panic(const char *unused)
{
	int trigger = open("/proc/sysrq-trigger", O_WRONLY);

	(void)unused;
	if (trigger < 0 || write(trigger, "c", 1) != 1)
		return 2;
	return 0;
}

static int hang(const char *unused)
{
	(void)unused;
	while (pause())
		; /* until killed */
	return 0;
}

/* Write @lines lines to the console. */
static int flood(const char *lines)
{
	for (long i = 0, end = atol(lines); i < end; i++)
		printf("flood %ld of %ld: nobody needs to read this line\n", i, end);
	return 0;
}

/* Write to @pages new pages and end: what a short-lived program does to page tables. */
static int touch(const char *pages)
{
	size_t bytes = strtoul(pages, NULL, 0) * 4096;
	char *memory = malloc(bytes);

	if (!memory)
		return 2;
	for (size_t at = 0; at < bytes; at += 4096)
		*(volatile char *)(memory + at) = 1;
	return 0;
}

/* Use the block device @path, which the host gave a swap header, as swap. */
static int swap_on(const char *path)
{
	if (!swapon(path, 0))
		return 0;
	fprintf(stderr, "init: cannot swap to %s: %s\n", path, strerror(errno));
	return 2;
}

static const struct {
	const char *word;
	int arguments;
	int (*help)(const char *argument);
} helpers[] = {
	{ "serve", 1, serve }, { "exit", 1, end_with },	 { "signal", 1, die_of },
	{ "panic", 0, panic }, { "hang", 0, hang },	 { "flood", 1, flood },
	{ "touch", 1, touch }, { "swapon", 1, swap_on },
};

int helper_main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "job"))
		return job_main(argv + 2);
	for (size_t i = 0; argc > 1 && i < sizeof(helpers) / sizeof(helpers[0]); i++)
		if (!strcmp(helpers[i].word, argv[1]) && argc == 2 + helpers[i].arguments)
			return helpers[i].help(argv[2]);
	fprintf(stderr, "usage: init serve TTY | exit STATUS | signal NUMBER | panic | hang |"
			" flood LINES | touch PAGES | swapon DEVICE\n");
	return 2;
}
