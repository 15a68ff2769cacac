// SPDX-License-Identifier: GPL-2.0-or-later
// A guest program that maps memory at every address bit: one page in each part of the address space
// that a slot of the root table covers and user space has. A kernel gives addresses above its
// default only to who asks for them (mmap's hint).
#define _GNU_SOURCE
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, BESIDE = 1 << 21 };

static char *map_at(uint64_t va)
{
	char *p =
		mmap((void *)va, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p != (char *)va)
		return NULL;
	memset(p, 1, PAGE);
	return p;
}

int main(int argc, char **argv)
{
	unsigned bits = argc > 1 ? (unsigned)atoi(argv[1]) : 48;
	int status;

	for (uint64_t va = 1ull << 40; va >> bits == 0; va <<= 1) {
		char *p = map_at(va + BESIDE);

		if (!p || mprotect(p, PAGE, PROT_READ))
			return 1;
	}
	if (!fork())
		_exit(0);
	wait(&status);
	for (uint64_t va = 1ull << 40; va >> bits == 0; va <<= 2)
		if (munmap((void *)(va + BESIDE), PAGE))
			return 2;
	return status;
}
