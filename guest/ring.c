// SPDX-License-Identifier: GPL-2.0-or-later
#include "ring.h"

#include <errno.h>
#include <linux/io_uring.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "workload.h"

enum { RING_BYTES = 4096 }; /* both rings of one entry, with room to spare */

static void *map(const struct ring *ring, size_t bytes, off_t what)
{
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring->file,
			what);

	if (at == MAP_FAILED)
		die("map an io_uring");
	return at;
}

void ring_open(struct ring *ring)
{
	struct io_uring_params params = { 0 };

	ring->file = (int)syscall(SYS_io_uring_setup, 1, &params);
	if (ring->file < 0)
		die("io_uring_setup");
	ring->rings = map(ring, RING_BYTES, IORING_OFF_SQ_RING);
	ring->entry = map(ring, sizeof(*ring->entry), IORING_OFF_SQES);
	ring->tail = (unsigned int *)(ring->rings + params.sq_off.tail);
	ring->head = (unsigned int *)(ring->rings + params.cq_off.head);
	ring->result = (struct io_uring_cqe *)(ring->rings + params.cq_off.cqes);
	ring->results = params.cq_entries;
}

void ring_pin(const struct ring *ring, void *at, size_t bytes)
{
	struct iovec buffer = { .iov_base = at, .iov_len = bytes };

	if (syscall(SYS_io_uring_register, ring->file, IORING_REGISTER_BUFFERS, &buffer, 1))
		die("IORING_REGISTER_BUFFERS");
}

void ring_unpin(const struct ring *ring)
{
	if (syscall(SYS_io_uring_register, ring->file, IORING_UNREGISTER_BUFFERS, NULL, 0))
		die("IORING_UNREGISTER_BUFFERS");
}

void ring_transfer(struct ring *ring, int file, void *at, size_t bytes, bool write)
{
	unsigned int head = *ring->head;
	int moved;

	/* The array of submissions holds zero: the one entry there is. */
	memset(ring->entry, 0, sizeof(*ring->entry));
	ring->entry->opcode = write ? IORING_OP_WRITE_FIXED : IORING_OP_READ_FIXED;
	ring->entry->fd = file;
	ring->entry->addr = (uintptr_t)at;
	ring->entry->len = (unsigned int)bytes;
	__atomic_store_n(ring->tail, *ring->tail + 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, ring->file, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) != 1)
		die("io_uring_enter");
	moved = ring->result[head % ring->results].res;
	__atomic_store_n(ring->head, head + 1, __ATOMIC_RELEASE);
	if (moved != (int)bytes) {
		errno = moved < 0 ? -moved : 0;
		die("io_uring moved %d of %zu bytes", moved, bytes);
	}
}
