// SPDX-License-Identifier: GPL-2.0-or-later
// An init that speaks the agent's protocol and misbehaves on request.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <termios.h>
#include <unistd.h>

static FILE *open_channel(void)
{
	char cmdline[4096] = "", path[64] = "/dev/", *word;
	struct termios raw;
	FILE *file = fopen("/proc/cmdline", "r");

	fgets(cmdline, sizeof(cmdline), file);
	fclose(file);
	word = strstr(cmdline, "shootdown.agent=") + strlen("shootdown.agent=");
	strncat(path, word, strcspn(word, " \n"));

	file = fopen(path, "r+");
	tcgetattr(fileno(file), &raw);
	cfmakeraw(&raw);
	tcsetattr(fileno(file), TCSANOW, &raw);
	setvbuf(file, NULL, _IONBF, 0);
	return file;
}

static void print_kallsyms(FILE *channel)
{
	char line[256];
	FILE *file = fopen("/proc/kallsyms", "r");

	while (fgets(line, sizeof(line), file))
		if (strstr(line, " rest_init\n") || strstr(line, " kernel_init\n") ||
		    strstr(line, "_sys_getppid\n"))
			fprintf(channel, "note %s", line);
	fclose(file);
}

static void flood(void)
{
	FILE *console = fopen("/dev/console", "w");

	for (int i = 0; i < 2000; i++)
		fprintf(console, "flood %d\n", i);
	fflush(console);
	tcdrain(fileno(console));
	fclose(console);
}

static void run(FILE *channel, const char *name)
{
	fprintf(channel, "start %s\n", name);
	if (!strcmp(name, "hang"))
		for (;;)
			pause();
	if (!strcmp(name, "panic"))
		exit(0);
	if (!strcmp(name, "poweroff"))
		reboot(RB_POWER_OFF);
	if (!strcmp(name, "flood"))
		flood();
	if (!strcmp(name, "symbols"))
		print_kallsyms(channel);
	fprintf(channel, "stat %s getppid %d\n", name, getppid());
	fprintf(channel, "done %s 0\n", name);
}

int main(int argc, char **argv)
{
	char line[256], name[64];
	struct utsname uts;
	FILE *channel;

	// The kernel hands on what it does not know of its command line.
	for (int i = 1; i < argc; i++)
		while (!strcmp(argv[i], "mute"))
			pause();
	mkdir("/proc", 0755);
	mkdir("/dev", 0755);
	mount("proc", "/proc", "proc", 0, NULL);
	mount("dev", "/dev", "devtmpfs", 0, NULL);
	channel = open_channel();
	uname(&uts);
	fprintf(channel, "ready %s %s\n", uts.machine, uts.release);
	while (fgets(line, sizeof(line), channel)) {
		if (sscanf(line, "run %63s", name) == 1) {
			run(channel, name);
		} else if (!strcmp(line, "list\n")) {
			fprintf(channel, "workload hang never returns\nend\n");
		} else if (!strcmp(line, "quit\n")) {
			fprintf(channel, "bye\n");
			sync();
			reboot(RB_POWER_OFF);
		} else {
			fprintf(channel, "error unknown command\n");
		}
	}
	return 1;
}
