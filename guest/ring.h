/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An io_uring of one entry, whose one fixed buffer is pinned for as long as it is registered. */
#ifndef RING_H
#define RING_H

#include <stdbool.h>
#include <stddef.h>

struct ring {
	int file;
	char *rings;		     /* submission and completion ring, one mapping */
	struct io_uring_sqe *entry;  /* the only one */
	unsigned int *tail, *head;   /* of submissions; of completions */
	struct io_uring_cqe *result; /* the first of them */
	unsigned int results;
};

/* Dies when the kernel has no io_uring. */
void ring_open(struct ring *ring);

/* Pin [at, at + bytes), or let it go. */
void ring_pin(const struct ring *ring, void *at, size_t bytes);
void ring_unpin(const struct ring *ring);

/* Read from the beginning of @file into the pinned buffer at @at, or write, and wait for it. */
void ring_transfer(struct ring *ring, int file, void *at, size_t bytes, bool write);

#endif
