// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One command at a time: each is answered by exactly one of `done`, `end`, `error` or `bye`
 * before the next one is read. A command runs in a process with a session of its own, so whatever
 * it does to itself, the agent goes on.
 */
#include "agent.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arch.h"
#include "channel.h"
#include "marks.h"
#include "request.h"
#include "workload.h"

enum { MAX_LINE = 4096, MAX_WORDS = 64, SHOWN = 500 };

/* Wait for @child, reaping the orphans that init inherits. Returns 0..255 or 128 + signal. */
static int wait_for(pid_t child)
{
	int status;
	pid_t gone;

	do
		gone = waitpid(-1, &status, 0);
	while (gone != child && (gone >= 0 || errno == EINTR));
	kill(-child, SIGKILL); /* what it left behind in its session; holders have their own */
	if (gone < 0)
		return 255;
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/*
 * Start @path with @arguments in a session of its own, as a phase of the trace, and say what
 * became of it. A program that @speaks gets the channel as JOB_CHANNEL. Spawned, not forked: on a
 * kernel whose flushes were taken out, a fork would leave the agent writing through old
 * translations into pages that it shares with the child.
 */
static void start_and_wait(const char *name, const char *path, char **arguments, bool speaks)
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attributes;
	struct mark_name phase = mark_pack(name);
	int error, status = 0;
	pid_t child;

	say("start %s", name);
	mark_begin(phase, 0); /* here, so that it ends even when the program dies */
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
	posix_spawn_file_actions_init(&files);
	if (speaks)
		channel_hand_down(&files, JOB_CHANNEL);
	error = posix_spawn(&child, path, &files, &attributes, arguments, environ);
	posix_spawn_file_actions_destroy(&files);
	posix_spawnattr_destroy(&attributes);
	if (!error)
		status = wait_for(child);
	mark_end(phase, 0);
	if (error)
		say("error %s: %s: %s", name, path, strerror(error));
	else
		say("done %s %d", name, status);
}

/* The workload runs in this very program, started anew: see job_main. */
static void command_run(char **words)
{
	char *arguments[MAX_WORDS + 3] = { "init", "job" };
	char copies[MAX_LINE], problem[PROBLEM_BYTES], *copied[MAX_WORDS + 1];
	const char *wrong;
	struct job job;
	size_t used = 0;
	int count = 0;

	/* Understanding the request takes its words apart. */
	for (; words[count]; count++) {
		copied[count] = strcpy(copies + used, words[count]);
		used += strlen(words[count]) + 1;
		arguments[count + 2] = words[count];
	}
	copied[count] = NULL;
	wrong = request_parse(copied, &job, problem);
	if (wrong)
		say("error %s", wrong);
	else
		start_and_wait(job.workload->name, "/proc/self/exe", arguments, true);
}

static void command_exec(char **words)
{
	if (!words[0])
		say("error exec: needs PATH [ARG...]");
	else
		start_and_wait("exec", words[0], words, false);
}

/* As `exec`, but the phase and the answer go by a name of the host's choice. */
static void command_load(char **words)
{
	if (!words[0] || !words[1])
		say("error load: needs NAME PATH [ARG...]");
	else
		start_and_wait(words[0], words[1], words + 1, false);
}

/* `show PATH [LINES]`. A file may be endless: what is beyond the lines asked for is left out. */
static void command_show(char **words)
{
	char line[512];
	uint64_t lines = SHOWN;
	FILE *file;

	if (!words[0] || (words[1] && !parse_number(words[1], &lines))) {
		say("error show: needs PATH [LINES]");
		return;
	}
	file = fopen(words[0], "re");
	if (!file) {
		say("error show: %s", strerror(errno));
		return;
	}
	for (uint64_t i = 0; i < lines && fgets(line, sizeof(line), file); i++) {
		line[strcspn(line, "\n")] = '\0';
		say("line %s", line);
	}
	fclose(file);
	say("end");
}

static void command_list(char **words)
{
	(void)words;
	for (const struct workload *const *each = workloads; *each; each++)
		say("workload %s %s", (*each)->name, (*each)->headline);
	say("end");
}

static const struct {
	const char *name;
	void (*obey)(char **words);
} commands[] = {
	{ "run", command_run },	  { "exec", command_exec }, { "load", command_load },
	{ "show", command_show }, { "list", command_list },
};

static void obey(char **words)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (!strcmp(commands[i].name, words[0])) {
			commands[i].obey(words + 1);
			return;
		}
	}
	say("error `%.40s` is not a command; there are run, exec, load, show, list and quit",
	    words[0]);
}

/* Split @line at blanks into @words, ended by NULL. Returns false when there are too many. */
static bool split(char *line, char *words[MAX_WORDS + 1])
{
	char *rest = NULL;
	int count = 0;

	for (char *word = strtok_r(line, " \t", &rest); word; word = strtok_r(NULL, " \t", &rest)) {
		if (count == MAX_WORDS)
			return false;
		words[count++] = word;
	}
	words[count] = NULL;
	return true;
}

/* Obey one line of a command. Returns false when it was the last one. */
static bool take(char *line)
{
	char *words[MAX_WORDS + 1];

	if (!split(line, words)) {
		say("error a line has at most %d words", MAX_WORDS);
	} else if (!words[0]) {
		say("error the line is empty");
	} else if (!strcmp(words[0], "quit")) {
		say("bye");
		return false;
	} else {
		obey(words);
	}
	return true;
}

/* Commands that the guest was started with: nothing outside of it decides when they come. */
static bool obey_prepared(void)
{
	static char line[MAX_LINE];
	FILE *file = fopen("/commands", "re");
	bool on = true;

	if (!file)
		return true;
	while (on && fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\n")] = '\0';
		on = take(line);
	}
	fclose(file);
	return on;
}

void agent_serve(void)
{
	static char line[MAX_LINE];
	struct utsname system;
	enum line got;

	uname(&system);
	say("ready %s %s", ARCH_NAME, system.release);
	if (!obey_prepared())
		return;
	while ((got = channel_read(line, sizeof(line))) != LINE_CLOSED) {
		if (got == LINE_TOO_LONG)
			say("error a line has at most %d bytes", MAX_LINE - 1);
		else if (!take(line))
			return;
	}
}
