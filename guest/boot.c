// SPDX-License-Identifier: GPL-2.0-or-later
#include "boot.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct {
	const char *type, *at;
} mounts[] = {
	{ "proc", "/proc" },
	{ "sysfs", "/sys" },
	{ "devtmpfs", "/dev" },
	{ "tracefs", "/sys/kernel/tracing" },
	{ "debugfs", "/sys/kernel/debug" },
	{ "tmpfs", "/tmp" },
	{ "tmpfs", "/dev/shm" },
};

void boot_mount(void)
{
	for (size_t i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++) {
		mkdir(mounts[i].at, 0755); /* fails below /sys, where it must exist already */
		if (mount(mounts[i].type, mounts[i].at, mounts[i].type, 0, NULL) && errno != EBUSY)
			fprintf(stderr, "agent: no %s: %s\n", mounts[i].at, strerror(errno));
	}
}

const char *boot_agent_tty(const char *fallback)
{
	static char path[64];
	static const char key[] = "shootdown.agent=";
	char line[4096];
	int file = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);
	ssize_t got = file < 0 ? 0 : read(file, line, sizeof(line) - 1);
	const char *name = fallback;
	char *found;

	if (file >= 0)
		close(file);
	line[got < 0 ? 0 : got] = '\0';
	found = strstr(line, key);
	if (found) {
		name = found + strlen(key);
		found[strlen(key) + strcspn(name, " \n")] = '\0';
	}
	snprintf(path, sizeof(path), "/dev/%s", name);
	return path;
}

void boot_power_off(void)
{
	kill(-1, SIGKILL);
	sync();
	reboot(RB_POWER_OFF);
	reboot(RB_HALT_SYSTEM);
	for (;;)
		pause();
}
