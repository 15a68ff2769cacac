/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SD_PAGES_H
#define SD_PAGES_H

#include "memory.h"

/*
 * The structures that the guest keeps of its page frames: one of a fixed size for
 * each frame, in the order of the frames, in one range of virtual addresses.
 */

/* Beside SD_USE_LEAF and SD_USE_TABLE: the frame is free. */
enum { SD_USED_FREED = 0x80 };

/*
 * Learn where the structures are: @va is that of the frame at PA 0, @stride their
 * bytes. The kernel's tables must be known. False when they do not map the
 * structure of every frame of RAM to RAM.
 */
bool sd_pages_map(uint64_t va, uint64_t stride);
/* VA of the structure of the frame at a RAM offset. */
uint64_t sd_pages_va(uint64_t off);

/* The word of @size bytes at @va; false when it is not in RAM that is followed. */
bool sd_kernel_word(uint64_t va, unsigned size, uint64_t *ret);

/*
 * The life of frames, on request: frames that user memory or a page table was in
 * are told of when they are given back to the allocator, and when they are taken
 * from it again.
 */
void sd_pages_follow(void);
void sd_pages_used(uint64_t pa, uint64_t size, uint8_t use);
/* How a structure says the order of its block: 0, or where @bit of the word at @flags is set, the
 * byte at @order. */
void sd_pages_compound(uint64_t flags, unsigned bit, uint64_t order);

/* Where a probe was hit, and what for. */
struct sd_pages_at {
	uint64_t pc;
	unsigned cpu;
	uint16_t id, kind;
};

/* 2 ** @order frames from the one whose structure is at @va were freed or allocated. */
void sd_pages_block(const struct sd_pages_at *at, uint64_t va, uint64_t order);
/* @count pointers to structures, at @va. */
void sd_pages_array(const struct sd_pages_at *at, uint64_t va, uint64_t count);
/* A circular list of structures with its head at @head, linked by pointers at @link in each. */
void sd_pages_list(const struct sd_pages_at *at, uint64_t head, uint64_t link);

/* A word kept under a key (a stack pointer: of one call); false when there is none. */
void sd_keep(uint64_t key, uint64_t value);
bool sd_kept(uint64_t key, uint64_t *ret);

#endif
