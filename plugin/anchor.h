/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SD_ANCHOR_H
#define SD_ANCHOR_H

#include <stdbool.h>
#include <stdint.h>

enum { SD_MAX_ANCHOR = 64 };

/* Bytes of the kernel's text and where they were linked; a byte without mask may be any. */
struct sd_anchor {
	uint64_t va;
	unsigned n;
	uint8_t byte[SD_MAX_ANCHOR], mask[SD_MAX_ANCHOR];
};

/*
 * What KASLR has added to every address of the kernel's image, and the image as it
 * was linked. Set once, before any other vCPU runs.
 */
extern uint64_t sd_slide, sd_linked_va, sd_linked_size;

/* From hexadecimal digits, two a byte, with ?? for any; false when it is none. */
bool sd_anchor_parse(struct sd_anchor *a, uint64_t va, const char *text);
/* Whether the instruction at @pc, about to be translated, is the anchored one. */
bool sd_anchor_at(const struct sd_anchor *a, uint64_t pc);

/* Where the guest has what was linked at @va: moved, if it is part of the image. */
static inline uint64_t sd_slid(uint64_t va)
{
	return va - sd_linked_va < sd_linked_size ? va + sd_slide : va;
}

/* Where what the guest has at @va was linked. */
static inline uint64_t sd_linked(uint64_t va)
{
	return va - sd_slide - sd_linked_va < sd_linked_size ? va - sd_slide : va;
}

#endif
