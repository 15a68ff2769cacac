// SPDX-License-Identifier: GPL-2.0-or-later
#include "area.h"

#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "workload.h"

enum { POPULATED_PAGES = 16, HOLE_MARGIN = 32 };

void area_small_pages(void)
{
	/* A kernel without transparent huge pages refuses, and has nothing to switch off. */
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
}

char *area_reserve(size_t blocks)
{
	/* One block more on each side: its table is shared with nobody. */
	size_t bytes = (blocks + 3) * BLOCK_BYTES;
	char *raw =
		mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (raw == MAP_FAILED)
		die("reserve %zu bytes", bytes);
	return (char *)(((uintptr_t)raw + 2 * BLOCK_BYTES - 1) & ~(BLOCK_BYTES - 1));
}

void area_map(char *at, size_t bytes)
{
	if (mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
		 0) != at)
		die("map %zu bytes at %p", bytes, (void *)at);
}

void area_touch(char *at, size_t bytes)
{
	for (size_t offset = 0; offset < bytes; offset += PAGE_BYTES)
		*(volatile char *)(at + offset) = 1;
}

char *area_create(size_t blocks)
{
	char *area = area_reserve(blocks);

	area_map(area, blocks * BLOCK_BYTES);
	for (size_t block = 0; block < blocks; block++) {
		char *start = area + block * BLOCK_BYTES, *end = start + BLOCK_BYTES;

		area_touch(start, POPULATED_PAGES * PAGE_BYTES);
		area_touch(end - POPULATED_PAGES * PAGE_BYTES, POPULATED_PAGES * PAGE_BYTES);
	}
	return area;
}

void area_hole(char *at, size_t pages)
{
	if (munmap(at - HOLE_MARGIN * PAGE_BYTES, (pages + 2 * HOLE_MARGIN) * PAGE_BYTES))
		die("munmap");
}

void *area_shared(size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		die("share %zu bytes", bytes);
	return memory;
}

int area_memfd(size_t bytes, char **alias)
{
	int file = memfd_create("shootdown", MFD_CLOEXEC);

	if (file < 0 || ftruncate(file, (off_t)bytes))
		die("memfd of %zu bytes", bytes);
	*alias = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	if (*alias == MAP_FAILED)
		die("map memfd");
	return file;
}
