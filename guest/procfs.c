// SPDX-License-Identifier: GPL-2.0-or-later
#include "procfs.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "workload.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* The whole file as text, in memory that is always the same. */
static char *read_all(const char *path)
{
	static char text[32768];
	int file = open(path, O_RDONLY | O_CLOEXEC);
	size_t filled = 0;
	ssize_t got;

	if (file < 0)
		die("open %s", path);
	while ((got = read(file, text + filled, sizeof(text) - 1 - filled)) > 0)
		filled += (size_t)got;
	close(file);
	if (got < 0 || filled == sizeof(text) - 1)
		die("read %s", path);
	text[filled] = '\0';
	return text;
}

uint64_t procfs_vmas(void)
{
	char *text = read_all("/proc/self/maps"), *save;
	uint64_t count = 0;

	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		count += !strstr(line, "[vsyscall]");
	return count;
}

uint64_t procfs_flagged(const char *name)
{
	static const char head[] = "VmFlags:";
	char *text = read_all("/proc/self/smaps"), *save;
	char word[4] = { ' ', name[0], name[1], '\0' };
	uint64_t count = 0;

	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		count += !strncmp(line, head, sizeof(head) - 1) && strstr(line, word);
	return count;
}

uint64_t procfs_faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_minflt + usage.ru_majflt;
}

void procfs_populate(void)
{
	char *text = read_all("/proc/self/maps"), *save;

	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		unsigned long start, end;
		char rights[5];

		if (sscanf(line, "%lx-%lx %4s", &start, &end, rights) == 3 && rights[1] == 'w' &&
		    rights[3] == 'p' && madvise((void *)start, end - start, MADV_POPULATE_WRITE))
			die("populate %s", line);
	}
}

void procfs_refresh(void)
{
	read_all("/proc/sys/vm/stat_refresh");
}

uint64_t procfs_vmstat(const char *name)
{
	char *text = read_all("/proc/vmstat"), *save;
	size_t length = strlen(name);

	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		if (!strncmp(line, name, length) && line[length] == ' ')
			return strtoull(line + length, NULL, 10);
	return 0;
}
