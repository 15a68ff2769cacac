/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where the kernel runs. A kernel with KASLR moves its image by a multiple of an
 * alignment before any of the places that a plan names; the anchor is text that
 * runs after the move and ahead of them, and is looked for in what is translated.
 */
#include <string.h>

#include "anchor.h"
#include "arch.h"
#include "memory.h"

uint64_t sd_slide, sd_linked_va, sd_linked_size;

static bool byte_of(const char *text, uint8_t *byte, uint8_t *mask)
{
	int high = g_ascii_xdigit_value(text[0]);
	int low = high < 0 ? -1 : g_ascii_xdigit_value(text[1]);

	*mask = low < 0 ? 0 : 0xff;
	*byte = low < 0 ? 0 : (uint8_t)(high << 4 | low);
	return low >= 0 || (text[0] == '?' && text[1] == '?');
}

bool sd_anchor_parse(struct sd_anchor *a, uint64_t va, const char *text)
{
	size_t digits = strlen(text);

	a->va = va;
	a->n = (unsigned)(digits / 2);
	if (!digits || digits % 2 || digits / 2 > SD_MAX_ANCHOR)
		return false;
	for (unsigned i = 0; i < a->n; i++)
		if (!byte_of(text + 2 * i, &a->byte[i], &a->mask[i]))
			return false;
	return true;
}

bool sd_anchor_at(const struct sd_anchor *a, uint64_t pc)
{
	uint8_t seen[SD_MAX_ANCHOR];

	if (G_LIKELY((pc - a->va) % sd_arch->slide_align) || !sd_read_va(0, pc, seen, a->n))
		return false;
	for (unsigned i = 0; i < a->n; i++)
		if ((seen[i] ^ a->byte[i]) & a->mask[i])
			return false;
	return true;
}
