/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SD_MEMORY_H
#define SD_MEMORY_H

#include "sd.h"

/*
 * Guest memory: RAM is a shared memfd that the plugin maps as well, so physical
 * memory is read directly, whatever mode the vCPU is in.
 */

enum { SD_PAGE_TABLE = 0x8000, SD_PAGE_WATCHES = 0x7fff };

struct sd_memory {
	const uint8_t *ram;
	uint64_t ram_base, ram_size; /* PA, bytes */
	uint64_t linear_va;	     /* VA of the first byte of RAM in the linear map */
	uint64_t image_va, image_size, image_off; /* kernel image; offset in RAM of image_va */
	uint64_t slow_va, slow_size;		  /* VAs to translate one by one (fixmap) */
	uint64_t pages_va, pages_size;		  /* VAs of the frames' structures, whole pages */
	uint64_t *pages_off;			  /* of each of these pages: its offset in RAM */
	uint16_t *page; /* per frame: SD_PAGE_TABLE, and how many words are watched */
};

extern struct sd_memory sd_mem;

/* Map the guest's RAM; false with a line on stderr on failure. */
bool sd_memory_map(uint64_t base, uint64_t size);

/* Offset in RAM of a kernel VA, or UINT64_MAX where it is not RAM that we follow. */
static inline uint64_t sd_va_to_off(uint64_t va)
{
	uint64_t off = va - sd_mem.linear_va;

	if (G_LIKELY(off < sd_mem.ram_size))
		return off;
	off = va - sd_mem.image_va;
	if (off < sd_mem.image_size)
		return off + sd_mem.image_off;
	off = va - sd_mem.pages_va;
	if (off < sd_mem.pages_size)
		return sd_mem.pages_off[off >> SD_PAGE_SHIFT] + (off & (SD_PAGE_SIZE - 1));
	return UINT64_MAX;
}

static inline uint64_t sd_off_to_pa(uint64_t off)
{
	return off + sd_mem.ram_base;
}

/* Whether a PA is in RAM; @off gets its offset. */
static inline bool sd_pa_to_off(uint64_t pa, uint64_t *off)
{
	*off = pa - sd_mem.ram_base;
	return *off < sd_mem.ram_size;
}

static inline uint64_t sd_ram_u64(uint64_t off)
{
	return __atomic_load_n((const uint64_t *)(sd_mem.ram + (off & ~7ull)), __ATOMIC_RELAXED);
}

static inline uint16_t sd_page_flags(uint64_t off)
{
	return __atomic_load_n(&sd_mem.page[off >> SD_PAGE_SHIFT], __ATOMIC_ACQUIRE);
}

/* Read @size bytes at a VA through the current vCPU's translation. */
bool sd_read_va(unsigned cpu, uint64_t va, void *ret, size_t size);

#endif
