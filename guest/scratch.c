// SPDX-License-Identifier: GPL-2.0-or-later
#include "scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "workload.h"

enum { DISKS = 4 };
static const char serial[] = "scratch"; /* shootdown.vm.disk.SERIAL */

static int is_scratch(int number)
{
	char path[64], text[32] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/sys/class/nvme/nvme%d/serial", number);
	file = fopen(path, "re");
	if (!file)
		return 0;
	if (!fgets(text, sizeof(text), file))
		text[0] = '\0';
	fclose(file);
	return !strncmp(text, serial, sizeof(serial) - 1);
}

int scratch_open(int flags)
{
	for (int number = 0; number < DISKS; number++) {
		char path[64];
		int file;

		if (!is_scratch(number))
			continue;
		snprintf(path, sizeof(path), "/dev/nvme%dn1", number);
		file = open(path, O_RDWR | O_CLOEXEC | flags);
		if (file < 0)
			die("open %s", path);
		return file;
	}
	skip("there is no disk for workloads; run with --disk");
}

void scratch_forget(int file)
{
	errno = posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
	if (errno)
		die("posix_fadvise");
}
