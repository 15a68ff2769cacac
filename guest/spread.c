// SPDX-License-Identifier: GPL-2.0-or-later
#include "spread.h"

#include <sys/mman.h>

#include "area.h"
#include "workload.h"

char *spread_map(unsigned int tables)
{
	size_t bytes = tables * BLOCK_BYTES;
	char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (memory == MAP_FAILED || madvise(memory, bytes, MADV_NOHUGEPAGE))
		die("spread over %u tables", tables);
	for (unsigned int table = 0; table < tables; table++) {
		char *block = memory + table * BLOCK_BYTES;

		area_touch(block, SPREAD_WRITTEN * PAGE_BYTES);
		for (unsigned int page = 0; page < SPREAD_READ; page++)
			(void)*(volatile char *)(block + (SPREAD_WRITTEN + 2 * page) * PAGE_BYTES);
	}
	return memory;
}

void spread_unmap(char *memory, unsigned int tables)
{
	if (munmap(memory, tables * BLOCK_BYTES))
		die("munmap");
}
