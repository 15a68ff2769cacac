/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Stores of the kernel: each one is looked up by the page it falls into, and goes to
 * the page-table tracker, the watches, or, mostly, nowhere.
 */
#include "store.h"
#include "arch.h"
#include "delay.h"

/*
 * A callback gets one pointer: kernel text lies in the top 2^48 bytes, so its
 * upper 16 bits carry the operation of an atomic and a register.
 */
void *sd_store_pack(uint64_t pc, uint8_t rmw, uint8_t reg)
{
	return (void *)(uintptr_t)((pc & ((1ull << 48) - 1)) | (uint64_t)rmw << 48 |
				   (uint64_t)reg << 56);
}

static uint64_t unpack_pc(void *udata)
{
	return (uint64_t)((int64_t)((uint64_t)(uintptr_t)udata << 16) >> 16);
}

static unsigned value_of(qemu_plugin_meminfo_t info, uint64_t v[2])
{
	qemu_plugin_mem_value m = qemu_plugin_mem_get_value(info);

	v[1] = 0;
	switch (m.type) {
	case QEMU_PLUGIN_MEM_VALUE_U8:
		v[0] = m.data.u8;
		return 1;
	case QEMU_PLUGIN_MEM_VALUE_U16:
		v[0] = m.data.u16;
		return 2;
	case QEMU_PLUGIN_MEM_VALUE_U32:
		v[0] = m.data.u32;
		return 4;
	case QEMU_PLUGIN_MEM_VALUE_U64:
		v[0] = m.data.u64;
		return 8;
	default:
		v[0] = m.data.u128.low;
		v[1] = m.data.u128.high;
		return 16;
	}
}

static void store_word(unsigned cpu, const struct sd_wstore *ws)
{
	uint16_t flags = sd_page_flags(ws->st.off);

	if (flags & SD_PAGE_TABLE)
		sd_table_store(cpu, &ws->st);
	if (flags & SD_PAGE_WATCHES)
		sd_watch_store(cpu, ws);
}

/* Whether a VA that is in none of the kernel's fixed maps may lead to a table. */
static bool is_slow(uint64_t va)
{
	return va - sd_mem.slow_va < sd_mem.slow_size ||
	       va - sd_arch->scratch_va < sd_arch->scratch_size;
}

static uint64_t store_offset(qemu_plugin_meminfo_t info, uint64_t va)
{
	uint64_t off = sd_va_to_off(va);

	if (G_UNLIKELY(off == UINT64_MAX) && is_slow(va)) {
		struct qemu_plugin_hwaddr *hw = qemu_plugin_get_hwaddr(info, va);

		if (!hw || !sd_pa_to_off(qemu_plugin_hwaddr_phys_addr(hw), &off))
			return UINT64_MAX;
	}
	return off;
}

static void store_piece(unsigned cpu, uint64_t pc, uint64_t off, uint64_t value, unsigned size)
{
	struct sd_wstore ws = {
		.st = { .pc = pc, .off = off, .value = value, .size = (uint8_t)size }
	};

	store_word(cpu, &ws);
}

/* A store that is wider than a table's slot, or lies across two or three of them. */
static void store_pieces(unsigned cpu, uint64_t pc, uint64_t off, const uint64_t v[2],
			 unsigned size)
{
	unsigned __int128 value = (unsigned __int128)v[1] << 64 | v[0];
	uint64_t end = MIN(off + size, sd_mem.ram_size);

	while (off < end) {
		unsigned piece = (unsigned)MIN(8 - (off & 7), end - off);

		store_piece(cpu, pc, off, (uint64_t)value & sd_mask(piece), piece);
		value >>= 8 * piece;
		off += piece;
	}
}

/* No store that begins in another page reaches into a table. */
void sd_on_store(unsigned cpu, qemu_plugin_meminfo_t info, uint64_t va, void *udata)
{
	uint64_t off = store_offset(info, va), v[2];

	if (off == UINT64_MAX || G_LIKELY(!sd_page_flags(off)) || !sd_is_armed())
		return;

	unsigned size = value_of(info, v);

	cpu = sd_self(cpu);
	if (G_LIKELY((off & 7) + size <= 8)) /* watched words have busy neighbours */
		store_piece(cpu, unpack_pc(udata), off, v[0], size);
	else
		store_pieces(cpu, unpack_pc(udata), off, v, size);
	sd_delay_after_store(cpu);
}

static void stash_read(struct sd_cpu *c, uint8_t rmw, uint64_t off, uint64_t value)
{
	if (rmw == SD_RMW_LDXR) {
		c->excl_pa = off;
		c->excl_value = value;
		return;
	}
	c->rmw_pa = off;
	c->rmw_value = value;
	c->rmw_valid = true;
}

void sd_on_atomic(unsigned cpu, qemu_plugin_meminfo_t info, uint64_t va, void *udata)
{
	uint64_t off = store_offset(info, va), v[2];
	uint8_t rmw = ((uintptr_t)udata >> 48) & 0xff, reg = (uintptr_t)udata >> 56;
	if (off == UINT64_MAX || G_LIKELY(!sd_page_flags(off)) || !sd_is_armed())
		return;

	unsigned size = value_of(info, v);
	struct sd_cpu *c = &sd_cpus[cpu = sd_self(cpu)];
	if (!qemu_plugin_mem_is_store(info)) {
		stash_read(c, rmw, off, v[0]);
		return;
	}

	struct sd_wstore ws = { .st = { .pc = unpack_pc(udata),
					.off = off,
					.value = v[0],
					.size = (uint8_t)MIN(size, 8u),
					.atomic = true },
				.rmw = rmw };

	if (c->rmw_valid && c->rmw_pa == off) {
		/* For lock-op the read half is the result, so only these can be compared. */
		ws.st.has_read = rmw == SD_RMW_XCHG || rmw == SD_RMW_CMPXCHG;
		ws.st.read = c->rmw_value;
	}
	c->rmw_valid = false;
	if (rmw == SD_RMW_CMPXCHG) {
		ws.expected_known = true;
		ws.expected = reg == 31 ? 0 : sd_reg(cpu, reg); /* arm64's xzr; no x86 register */
	} else if (rmw == SD_RMW_STXR) {
		ws.expected_known = c->excl_pa == off;
		ws.expected = c->excl_value;
	}
	if (size == 16) {
		ws.rmw = SD_RMW_OTHER;
		ws.st.has_read = false;
		ws.st.off += 8;
		store_word(cpu, &ws);
		ws.st.off -= 8;
	}
	store_word(cpu, &ws);
	sd_delay_after_store(cpu);
}
