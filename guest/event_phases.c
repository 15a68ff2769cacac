// SPDX-License-Identifier: GPL-2.0-or-later
#include "event_phases.h"

#include <fcntl.h>
#include <linux/io_uring.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "access.h"
#include "area.h"
#include "workload.h"

/* Where in the block things are, and how many there are, in pages. */
enum {
	HOLE_PAGE = 64,
	HOLE = 384,
	RANGE_PAGE = 80,
	RANGE = 32,
	MORE = 8,
	MOVED_PAGE = 160,
	FRESH_PAGE = 200,
	FRESH = 16,
	ZERO_PAGE = 224,
	ZERO = 8,
	SHARED_PAGE = 240,
	SHARED = 4,
	INTO_PAGE = 250,
	INTO = 4,
	PINNED_PAGE = 264,
	PINNED = 8,
	ABSENT_PAGE = 280,
	ABSENT = 2,
	NOWHERE_PAGE = 300,
	COPIED = 4,
	SPLICED = 4,
	PEEKED = 3,
};

static struct stage {
	char *block;
	int zero, memory, ring, pipe[2];
	char buffer[PINNED * PAGE_BYTES];
} stage;

static char *page(unsigned int number)
{
	return stage.block + number * PAGE_BYTES;
}

static void map_at(unsigned int first, unsigned int pages, int flags)
{
	if (mmap(page(first), pages * PAGE_BYTES, PROT_READ | PROT_WRITE,
		 flags | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != page(first))
		die("mmap");
}

static void unmap_at(unsigned int first, unsigned int pages)
{
	if (munmap(page(first), pages * PAGE_BYTES))
		die("munmap");
}

/* VMAs. */

static void vma_map(void)
{
	map_at(RANGE_PAGE, RANGE, MAP_PRIVATE);
}

static void vma_expand(void)
{
	map_at(RANGE_PAGE + RANGE, MORE, MAP_PRIVATE);
}

static void vma_split(void)
{
	if (mprotect(page(RANGE_PAGE), 8 * PAGE_BYTES, PROT_READ))
		die("mprotect");
}

static void vma_join(void)
{
	if (mprotect(page(RANGE_PAGE), 8 * PAGE_BYTES, PROT_READ | PROT_WRITE))
		die("mprotect");
}

static void vma_hole(void)
{
	unmap_at(RANGE_PAGE + 16, 4);
}

static void vma_move(void)
{
	size_t bytes = (RANGE + MORE - 20) * PAGE_BYTES;

	if (mremap(page(RANGE_PAGE + 20), bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED,
		   page(MOVED_PAGE)) != page(MOVED_PAGE))
		die("mremap");
}

static void vma_unmap(void)
{
	unmap_at(RANGE_PAGE, 16);
}

static void vma_clear(void)
{
	unmap_at(MOVED_PAGE, RANGE + MORE - 20);
}

static void vma_fork(void)
{
	long child = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	int status;

	if (child == 0)
		syscall(SYS_exit_group, 0);
	if (child < 0 || waitpid((pid_t)child, &status, 0) < 0)
		die("clone and wait");
}

/* Faults. */

static void fault_write(void)
{
	area_touch(page(FRESH_PAGE), FRESH * PAGE_BYTES);
}

static void fault_read(void)
{
	for (unsigned int i = 0; i < ZERO; i++)
		(void)*(volatile char *)page(ZERO_PAGE + i);
}

static void fault_cow(void)
{
	area_touch(page(ZERO_PAGE), ZERO * PAGE_BYTES);
}

static void fault_shared(void)
{
	area_touch(page(SHARED_PAGE), SHARED * PAGE_BYTES);
}

static void fault_kernel(void)
{
	if (read(stage.zero, page(INTO_PAGE), INTO * PAGE_BYTES) != INTO * PAGE_BYTES)
		die("read /dev/zero");
}

static void fault_refused(void)
{
	uint64_t value;

	if (access_load(page(NOWHERE_PAGE), &value))
		die("a hole could be read");
}

/* GUP. */

static struct iovec piece(char *at, unsigned int pages)
{
	return (struct iovec){ .iov_base = at, .iov_len = pages * PAGE_BYTES };
}

static void gup_remote(void)
{
	struct iovec to = piece(stage.buffer, COPIED), from = piece(page(PINNED_PAGE), COPIED);

	if (process_vm_readv(getpid(), &to, 1, &from, 1, 0) != COPIED * PAGE_BYTES)
		die("process_vm_readv");
}

static void gup_absent(void)
{
	struct iovec from = piece(stage.buffer, ABSENT), to = piece(page(ABSENT_PAGE), ABSENT);

	if (process_vm_writev(getpid(), &from, 1, &to, 1, 0) != ABSENT * PAGE_BYTES)
		die("process_vm_writev");
}

static void gup_splice(void)
{
	struct iovec from = piece(page(PINNED_PAGE), SPLICED);

	if (vmsplice(stage.pipe[1], &from, 1, 0) != SPLICED * PAGE_BYTES)
		die("vmsplice");
}

static void gup_peek(void)
{
	if (pread(stage.memory, stage.buffer, PEEKED * PAGE_BYTES, (off_t)page(PINNED_PAGE)) !=
	    PEEKED * PAGE_BYTES)
		die("read /proc/self/mem");
}

static void gup_fix(void)
{
	struct iovec fixed = piece(page(PINNED_PAGE), PINNED);

	if (syscall(SYS_io_uring_register, stage.ring, IORING_REGISTER_BUFFERS, &fixed, 1))
		die("register buffers");
}

static void gup_unfix(void)
{
	if (syscall(SYS_io_uring_register, stage.ring, IORING_UNREGISTER_BUFFERS, NULL, 0))
		die("unregister buffers");
}

/* In this order; a name has up to 16 characters. */
const struct event_phase event_phases[EVENT_PHASES] = {
	{ "vma_fork", vma_fork },	    { "vma_map", vma_map },
	{ "vma_expand", vma_expand },	    { "vma_split", vma_split },
	{ "vma_join", vma_join },	    { "vma_hole", vma_hole },
	{ "vma_move", vma_move },	    { "vma_unmap", vma_unmap },
	{ "vma_clear", vma_clear },	    { "fault_write", fault_write },
	{ "fault_read", fault_read },	    { "fault_cow", fault_cow },
	{ "fault_shared", fault_shared },   { "fault_kernel", fault_kernel },
	{ "fault_refused", fault_refused }, { "gup_remote", gup_remote },
	{ "gup_absent", gup_absent },	    { "gup_splice", gup_splice },
	{ "gup_peek", gup_peek },	    { "gup_fix", gup_fix },
	{ "gup_unfix", gup_unfix },
};

void event_phases_map(void)
{
	map_at(FRESH_PAGE, FRESH, MAP_PRIVATE);
	map_at(ZERO_PAGE, ZERO, MAP_PRIVATE);
	map_at(SHARED_PAGE, SHARED, MAP_SHARED);
	map_at(INTO_PAGE, INTO, MAP_PRIVATE);
	map_at(PINNED_PAGE, PINNED, MAP_PRIVATE);
	map_at(ABSENT_PAGE, ABSENT, MAP_PRIVATE);
	area_touch(page(PINNED_PAGE), PINNED * PAGE_BYTES);
	if (pipe2(stage.pipe, O_CLOEXEC))
		die("pipe");
}

void event_phases_clear(void)
{
	close(stage.pipe[0]);
	close(stage.pipe[1]);
	unmap_at(HOLE_PAGE, HOLE);
}

void event_phases_prepare(void)
{
	static struct io_uring_params params;

	stage.block = area_create(1);
	unmap_at(HOLE_PAGE, HOLE);
	stage.zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	stage.memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	stage.ring = (int)syscall(SYS_io_uring_setup, 1, &params);
	if (stage.zero < 0 || stage.memory < 0 || stage.ring < 0)
		die("open /dev/zero, /proc/self/mem and a ring");
}
