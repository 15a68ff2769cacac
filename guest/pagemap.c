// SPDX-License-Identifier: GPL-2.0-or-later
#include "pagemap.h"

#include <fcntl.h>
#include <unistd.h>

#include "area.h"
#include "workload.h"

/* Documentation/admin-guide/mm/pagemap.rst: bit 63 present, bits 54..0 page frame. */
#define PRESENT (UINT64_C(1) << 63)
#define FRAME	((UINT64_C(1) << 55) - 1)

void pagemap_read(struct pagemap *map, const void *start, unsigned int pages)
{
	size_t bytes = pages * sizeof(map->entries[0]);
	off_t offset = (uintptr_t)start / PAGE_BYTES * sizeof(map->entries[0]);
	int file = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	map->pages = pages;
	if (file < 0 || pread(file, map->entries, bytes, offset) != (ssize_t)bytes)
		die("pagemap of %u pages", pages);
	close(file);
}

uint64_t pagemap_present(const struct pagemap *map)
{
	uint64_t present = 0;

	for (unsigned int page = 0; page < map->pages; page++)
		present += (map->entries[page] & PRESENT) != 0;
	return present;
}

uint64_t pagemap_changed(const struct pagemap *before, const struct pagemap *after)
{
	uint64_t changed = 0;

	for (unsigned int page = 0; page < before->pages && page < after->pages; page++)
		changed += (before->entries[page] & after->entries[page] & PRESENT) &&
			   (before->entries[page] & FRAME) != (after->entries[page] & FRAME);
	return changed;
}

uint64_t pagemap_frames(const struct pagemap *map)
{
	uint64_t sum = 0;

	for (unsigned int page = 0; page < map->pages; page++)
		if (map->entries[page] & PRESENT)
			sum += map->entries[page] & FRAME;
	return sum;
}
