/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * User accesses in declared ranges, coalesced.
 *
 * An observer spins on a page millions of times. A record is written when the
 * physical address, the value or the direction changes for an address on a vCPU,
 * and again after anything that could give the same access a new meaning (a PTE
 * write, a flush, a return to user mode, a mark): the epoch. Everything between
 * is a count in the next record.
 */
#include "observe.h"
#include "arch.h"
#include "delay.h"
#include "trace.h"

enum { RANGES = 8 };

static struct {
	uint64_t start, size;
} ranges[RANGES];
static unsigned nranges; /* highest used + 1 */
static GMutex declaring;

bool sd_observe_declared(uint64_t va)
{
	for (unsigned i = 0; i < __atomic_load_n(&nranges, __ATOMIC_RELAXED); i++)
		if (va - ranges[i].start < __atomic_load_n(&ranges[i].size, __ATOMIC_RELAXED))
			return true;
	return false;
}

static uint64_t value_of(qemu_plugin_meminfo_t info)
{
	qemu_plugin_mem_value v = qemu_plugin_mem_get_value(info);

	switch (v.type) {
	case QEMU_PLUGIN_MEM_VALUE_U8:
		return v.data.u8;
	case QEMU_PLUGIN_MEM_VALUE_U16:
		return v.data.u16;
	case QEMU_PLUGIN_MEM_VALUE_U32:
		return v.data.u32;
	case QEMU_PLUGIN_MEM_VALUE_U64:
		return v.data.u64;
	default:
		return v.data.u128.low;
	}
}

/* Say how often a look was repeated before it is forgotten. */
static void finish_entry(unsigned cpu, const struct sd_obs *o)
{
	if (o->count)
		sd_emit(cpu, &(struct sd_event){ .kind = SD_KIND_OBS,
						 .a = o->va,
						 .b = o->pa,
						 .c = o->value,
						 .d = o->count,
						 .size = o->size,
						 .flags = o->flags | SD_FLAG_LAST });
}

/* Where the last look at @va by this vCPU is kept: its own entry, or the oldest of its set. */
static struct sd_obs *entry_of(unsigned cpu, uint64_t va)
{
	uint64_t set = ((va >> 3) * 0x9e3779b97f4a7c15ull) >> 56;
	struct sd_obs *ways = sd_cpus[cpu].obs[set % SD_OBS_SETS], *oldest = ways;

	for (unsigned i = 0; i < SD_OBS_WAYS; i++) {
		if (ways[i].va == va)
			return &ways[i];
		if (ways[i].epoch < oldest->epoch)
			oldest = &ways[i];
	}
	finish_entry(cpu, oldest);
	return oldest;
}

void sd_observe_access(unsigned cpu, qemu_plugin_meminfo_t info, uint64_t va, void *pc)
{
	if (G_LIKELY(!__atomic_load_n(&nranges, __ATOMIC_RELAXED)) || !sd_observe_declared(va))
		return;
	cpu = sd_self(cpu);

	struct qemu_plugin_hwaddr *hw = qemu_plugin_get_hwaddr(info, va);
	if (!hw) {
		sd_cpus[cpu].lost++;
		return;
	}

	uint64_t pa = qemu_plugin_hwaddr_phys_addr(hw);
	uint64_t value = value_of(info);
	uint64_t epoch = __atomic_load_n(&sd_obs_epoch, __ATOMIC_RELAXED);
	uint8_t flags = qemu_plugin_mem_is_store(info) ? SD_FLAG_STORE : 0;
	struct sd_obs *o = entry_of(cpu, va);
	uint8_t size = (uint8_t)(1u << qemu_plugin_mem_size_shift(info));
	bool same_va = o->va == va;

	if (same_va && o->pa == pa && o->value == value && o->epoch == epoch && o->flags == flags &&
	    o->size == size) {
		o->count++;
		return;
	}

	struct sd_event ev = { .kind = SD_KIND_OBS,
			       .pc = (uint64_t)(uintptr_t)pc,
			       .a = va,
			       .b = pa,
			       .c = value,
			       .d = same_va ? o->count : 0,
			       .size = size,
			       .flags = flags };
	*o = (struct sd_obs){
		.va = va, .pa = pa, .value = value, .epoch = epoch, .size = size, .flags = flags
	};
	sd_emit(cpu, &ev);
}

static void set_range(uint64_t nr, uint64_t start, uint64_t size)
{
	unsigned top = 0;

	if (nr >= RANGES)
		return;
	g_mutex_lock(&declaring);
	__atomic_store_n(&ranges[nr].size, 0, __ATOMIC_RELEASE);
	ranges[nr].start = start;
	__atomic_store_n(&ranges[nr].size, size, __ATOMIC_RELEASE);
	for (unsigned i = 0; i < RANGES; i++)
		if (ranges[i].size)
			top = i + 1;
	__atomic_store_n(&nranges, top, __ATOMIC_RELEASE);
	g_mutex_unlock(&declaring);
}

void sd_observe_mark(unsigned cpu, uint64_t pc, uint16_t op, const uint64_t arg[4])
{
	if (op == SD_MARK_RANGE)
		set_range(arg[0], arg[1], arg[2]);
	else if (op == SD_MARK_UNRANGE)
		set_range(arg[0], 0, 0);
	else if (op == SD_MARK_BEGIN || op == SD_MARK_END)
		sd_delay_phase(op == SD_MARK_BEGIN ? 1 : -1);
	sd_emit(cpu, &(struct sd_event){ .kind = SD_KIND_MARK,
					 .id = op,
					 .pc = pc,
					 .a = arg[0],
					 .b = arg[1],
					 .c = arg[2],
					 .d = arg[3] });
	sd_epoch_bump();
}

void sd_observe_finish(void)
{
	for (unsigned cpu = 0; cpu < sd_ncpus; cpu++)
		for (unsigned set = 0; set < SD_OBS_SETS; set++)
			for (unsigned way = 0; way < SD_OBS_WAYS; way++)
				finish_entry(cpu, &sd_cpus[cpu].obs[set][way]);
}
