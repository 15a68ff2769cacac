// SPDX-License-Identifier: GPL-2.0-or-later
// A guest program that does one bad thing.
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <unistd.h>

static void panic(void)
{
	FILE *trigger;

	mount("proc", "/proc", "proc", 0, NULL); // may be there already
	trigger = fopen("/proc/sysrq-trigger", "w");
	fputs("c", trigger);
	fclose(trigger);
}

static void flood(void)
{
	FILE *console = fopen("/dev/console", "w");

	for (int i = 0; i < 5000; i++)
		fprintf(console, "\033[31mflood %d \001\n", i);
	fclose(console);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	if (!strcmp(what, "panic"))
		panic();
	else if (!strcmp(what, "poweroff"))
		reboot(RB_POWER_OFF);
	else if (!strcmp(what, "flood"))
		flood();
	else if (!strcmp(what, "fail"))
		return 9;
	else if (!strcmp(what, "hang"))
		for (;;)
			pause();
	return 0;
}
