// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One command at a time: each is answered by exactly one of `done`, `end`, `error` or `bye`
 * before the next one is read. A command runs in a child with a session of its own, so whatever
 * it does to itself, the agent goes on.
 */
#include "agent.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arch.h"
#include "channel.h"
#include "request.h"
#include "workload.h"

enum { MAX_LINE = 4096, MAX_WORDS = 64 };

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

/* Fork. In the child: a new session, and nothing of the agent's unwritten output. */
static pid_t start_child(const char *name)
{
	pid_t child;

	fflush(NULL);
	say("start %s", name);
	child = fork();
	if (child == 0)
		setsid();
	else if (child < 0)
		say("error %s: fork: %s", name, strerror(errno));
	return child;
}

static void command_run(char **words)
{
	char problem[PROBLEM_BYTES];
	struct job job;
	const char *wrong = request_parse(words, &job, problem);
	pid_t child;

	if (wrong) {
		say("error %s", wrong);
		return;
	}
	child = start_child(job.workload->name);
	if (child == 0)
		_exit(job_run(&job));
	if (child > 0)
		say("done %s %d", job.workload->name, wait_for(child));
}

static void command_exec(char **words)
{
	pid_t child;

	if (!words[0]) {
		say("error exec: needs PATH [ARG...]");
		return;
	}
	if (access(words[0], X_OK)) {
		say("error exec: %s: %s", words[0], strerror(errno));
		return;
	}
	child = start_child("exec");
	if (child == 0) {
		execv(words[0], words);
		say("note exec: %s: %s", words[0], strerror(errno));
		_exit(127);
	}
	if (child > 0)
		say("done exec %d", wait_for(child));
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
	{ "run", command_run },
	{ "exec", command_exec },
	{ "list", command_list },
};

static void obey(char **words)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (!strcmp(commands[i].name, words[0])) {
			commands[i].obey(words + 1);
			return;
		}
	}
	say("error `%.40s` is not a command; there are run, exec, list and quit", words[0]);
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

void agent_serve(void)
{
	static char line[MAX_LINE];
	char *words[MAX_WORDS + 1];
	struct utsname system;
	enum line got;

	uname(&system);
	say("ready %s %s", ARCH_NAME, system.release);
	while ((got = channel_read(line, sizeof(line))) != LINE_CLOSED) {
		if (got == LINE_TOO_LONG) {
			say("error a line has at most %d bytes", MAX_LINE - 1);
		} else if (!split(line, words)) {
			say("error a line has at most %d words", MAX_WORDS);
		} else if (!words[0]) {
			say("error the line is empty");
		} else if (!strcmp(words[0], "quit")) {
			say("bye");
			return;
		} else {
			obey(words);
		}
	}
}
