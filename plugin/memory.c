/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Finding and mapping the guest's RAM inside the emulator's own process. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "memory.h"

struct sd_memory sd_mem;

/* The descriptor of QEMU's memory-backend-memfd, by what /proc says it is. */
static int find_ram_fd(uint64_t size)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;
	int found = -1;

	if (!dir)
		return -1;
	while (found < 0 && (entry = readdir(dir))) {
		char link[PATH_MAX];
		ssize_t n = readlinkat(dirfd(dir), entry->d_name, link, sizeof(link) - 1);
		struct stat st;
		int fd = atoi(entry->d_name);

		if (n <= 0)
			continue;
		link[n] = 0;
		if (strstr(link, "memfd:memory-backend-memfd") && !fstat(fd, &st) &&
		    (uint64_t)st.st_size == size)
			found = fd;
	}
	closedir(dir);
	return found;
}

bool sd_memory_map(uint64_t base, uint64_t size)
{
	int fd = find_ram_fd(size);
	void *ram;

	if (fd < 0) {
		fprintf(stderr, "shootdown: guest RAM is not a shared memory-backend-memfd of "
				"the plan's size\n");
		return false;
	}
	ram = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	if (ram == MAP_FAILED) {
		fprintf(stderr, "shootdown: cannot map guest RAM: %s\n", strerror(errno));
		return false;
	}
	sd_mem.ram = ram;
	sd_mem.ram_base = base;
	sd_mem.ram_size = size;
	sd_mem.page = g_new0(uint16_t, size >> SD_PAGE_SHIFT);
	return true;
}

bool sd_read_va(unsigned cpu, uint64_t va, void *ret, size_t size)
{
	GByteArray *buf = sd_cpus[cpu].scratch;

	if (!qemu_plugin_read_memory_vaddr(va, buf, size))
		return false;
	memcpy(ret, buf->data, size);
	return true;
}
