/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Page-table tracker.
 *
 * A table is followed from the moment it becomes reachable: its root is learned,
 * or an entry that points to it is written into a followed table. Its contents
 * are then read in one go, because fork, THP split and arm64 DC ZVA fill tables
 * before they are linked and some of those stores have no callback. Each followed
 * table has a shadow, which supplies the old value of a write, hides stores that
 * change nothing, and is compared with memory when the table is unlinked.
 *
 * Frames index the shadows directly, so a store finds its table without a lock
 * and nothing is ever allocated. Slots are exchanged atomically: the kernel holds
 * the page-table lock around every write of a slot, so callbacks for one slot
 * come in the order of the stores. Only linking and unlinking take a lock.
 *
 * A root may be smaller than a page (arm64 with 52-bit addresses: 16 slots from a slab
 * cache). Its frame then holds many, and words that are none: such a frame has a row of
 * shadows, one for each place of a root, made when the first becomes known.
 *
 * Learning races with stores by other vCPUs into the new table. The frame is
 * marked first, then the number of TABLE_LINK is drawn, then memory is read: a
 * store whose callback came before the mark is part of what is read, one whose
 * callback comes after waits until the table and all below it are read, and is
 * numbered after the contents. For that, a store must reach memory before its
 * callback looks at the mark. No fence says so on the hot path; learning makes all
 * other threads pass one instead (membarrier(2)).
 */
#include <errno.h>
#include <linux/membarrier.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "arch.h"
#include "delay.h"
#include "pages.h"
#include "shadow.h"
#include "trace.h"
#include "watch.h"

struct table *sd_shadows;
static GMutex structure;
static unsigned kernel_levels = 4, user_levels = 4;
unsigned sd_root_slots = SD_SLOTS;
static int64_t drop_countdown;
static uint64_t kernel_root_off = UINT64_MAX;

static struct {
	struct sd_word word;
	unsigned levels;
	bool pointer;
} locks;

static bool membarrier(int command)
{
	return !syscall(SYS_membarrier, command, 0, 0);
}

bool sd_tables_init(void)
{
	size_t bytes = (sd_mem.ram_size >> SD_PAGE_SHIFT) * sizeof(*sd_shadows);

	sd_shadows = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (sd_shadows == MAP_FAILED) {
		fprintf(stderr, "shootdown: cannot reserve page-table shadows: %s\n",
			strerror(errno));
		return false;
	}
	/* A host without it leaves a gap of nanoseconds, which an audit would show. */
	membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED);
	return true;
}

void sd_tables_set_roots(unsigned kernel, unsigned user, unsigned slots)
{
	kernel_levels = kernel;
	user_levels = user;
	sd_root_slots = slots;
}

void sd_tables_drop(uint64_t nth)
{
	drop_countdown = (int64_t)nth;
}

void sd_tables_lock(const struct sd_word *w, unsigned levels, bool pointer)
{
	locks.word = *w;
	locks.levels = levels;
	locks.pointer = pointer;
}

/* What a slot's content says about frames. */
static void note_use(const struct table *t, uint64_t entry)
{
	uint64_t span = slot_span(t->level);

	if (is_user(t) && sd_arch->is_leaf(entry, t->level))
		sd_pages_used(sd_arch->child(entry) & ~(span - 1), span, SD_USE_LEAF);
}

/* Begin to watch the lock of a table that is about to be marked. */
static void lock_begin(unsigned cpu, struct table *t)
{
	uint64_t pa = table_pa(t), va = sd_pages_va(pa - sd_mem.ram_base) + locks.word.offset;

	t->lock = 0;
	if (!(locks.levels >> t->level & 1) || !is_user(t))
		return;
	if (locks.pointer && !sd_kernel_word(va, 8, &va)) {
		sd_cpus[cpu].lost++;
		return;
	}
	/* NULL: not made as a table. mm/debug_vm_pgtable.c links frames of data for its tests. */
	if (va && sd_watch_begin(cpu, &locks.word, va, pa))
		t->lock = va;
}

static void link_child(unsigned cpu, uint64_t pc, const struct table *parent, unsigned index,
		       uint64_t entry);

/* Read the contents of a table that was just marked, and follow what it points to. */
static void read_contents(unsigned cpu, uint64_t pc, struct table *t)
{
	uint64_t off = t->off;

	for (unsigned i = 0; i < t->slots; i++) {
		t->slot[i] = sd_ram_u64(off + 8 * i);
		note_use(t, t->slot[i]);
		if (t->slot[i])
			sd_emit(cpu, &(struct sd_event){ .kind = SD_KIND_TABLE_SLOT,
							 .pc = pc,
							 .a = sd_off_to_pa(off + 8 * i),
							 .c = t->slot[i],
							 .d = slot_va(t, i),
							 .level = t->level });
	}
	for (unsigned i = 0; i < t->slots; i++)
		if (sd_arch->is_table(t->slot[i], t->level))
			link_child(cpu, pc, t, i, t->slot[i]);
	__atomic_store_n(&t->ready, true, __ATOMIC_RELEASE);
}

static struct table *begin(unsigned cpu, uint64_t off, unsigned slots, unsigned level, uint64_t va,
			   uint64_t root, bool kernel)
{
	struct table *t = claim(off, slots);

	t->ready = false;
	t->off = off;
	t->slots = (uint16_t)slots;
	t->refs = 1;
	t->level = (uint8_t)level;
	t->va = va;
	t->root = root;
	t->is_root = false;
	t->is_twin = false;
	t->is_kernel = kernel;
	lock_begin(cpu, t);
	if (is_user(t) && slots == SD_SLOTS)
		sd_pages_used(sd_off_to_pa(off), SD_PAGE_SIZE, SD_USE_TABLE);
	mark_known(t);
	membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
	return t;
}

static void link_child(unsigned cpu, uint64_t pc, const struct table *parent, unsigned index,
		       uint64_t entry)
{
	uint64_t pa = sd_arch->child(entry);
	uint64_t off;

	if (!sd_pa_to_off(pa, &off))
		return;
	if (is_known(off)) {
		table_at(off)->refs++;
		return;
	}

	struct table *t = begin(cpu, off, SD_SLOTS, parent->level - 1, slot_va(parent, index),
				parent->root, parent->is_kernel);

	sd_emit(cpu, &(struct sd_event){ .kind = SD_KIND_TABLE_LINK,
					 .pc = pc,
					 .a = table_pa(parent) + 8 * index,
					 .b = pa,
					 .c = t->va,
					 .d = t->root,
					 .level = t->level });
	if (t->lock)
		sd_watch_begun(cpu, pc, &locks.word, t->lock);
	read_contents(cpu, pc, t);
}

/* Bits in which slot @i of memory and shadow differ, the walker's aside. */
static uint64_t slot_diff(const struct table *t, unsigned i, uint64_t *shadow, uint64_t *seen)
{
	*seen = sd_ram_u64(t->off + 8 * i);
	*shadow = __atomic_load_n(&t->slot[i], __ATOMIC_ACQUIRE);
	return (*seen ^ *shadow) & ~sd_arch->hardware_bits(*shadow, t->level);
}

/*
 * Compare the shadow with memory. Another vCPU may have stored into the table
 * and not yet run its callback, so a difference must last to count; the patience
 * is per table, or a table that is wrong throughout would stop the guest.
 */
static void reread(unsigned cpu, uint64_t pc, struct table *t)
{
	uint64_t shadow, seen;
	int patience = 100;

	sd_cpus[cpu].reread_tables++;
	sd_cpus[cpu].reread_slots += t->slots;
	for (unsigned i = 0; i < t->slots; i++) {
		while (slot_diff(t, i, &shadow, &seen) && patience-- > 0)
			usleep(100);
		if (slot_diff(t, i, &shadow, &seen))
			sd_emit(cpu, &(struct sd_event){ .kind = SD_KIND_AUDIT_MISMATCH,
							 .pc = pc,
							 .a = table_pa(t) + 8 * i,
							 .b = shadow,
							 .c = seen,
							 .d = slot_va(t, i),
							 .level = t->level });
	}
}

static void unref(unsigned cpu, uint64_t pc, uint64_t pa)
{
	uint64_t off;

	if (!sd_pa_to_off(pa, &off) || !is_known(off))
		return;

	struct table *t = table_at(off);

	if (--t->refs)
		return;
	reread(cpu, pc, t);
	sd_emit(cpu,
		&(struct sd_event){ .kind = t->is_root ? SD_KIND_ROOT_FORGET : SD_KIND_TABLE_UNLINK,
				    .pc = pc,
				    .b = pa,
				    .c = t->va,
				    .level = t->level });
	if (t->lock)
		sd_watch_remove(&locks.word, t->lock);
	t->lock = 0;
	mark_unknown(t);
	for (unsigned i = 0; i < t->slots; i++)
		if (sd_arch->is_table(t->slot[i], t->level))
			unref(cpu, pc, sd_arch->child(t->slot[i]));
}

/*
 * With PTI an address space has two roots, in a pair of pages: the kernel's, and
 * in the second page the one user mode runs on. Both point to the same lower
 * tables of the user half, which no two address spaces do.
 */
static bool is_twin_of(uint64_t off, uint64_t first)
{
	if (!sd_arch->twin || off == first || !is_known(first) || !table_at(first)->is_root)
		return false;
	for (unsigned i = 0; i < SD_SLOTS / 2; i++) {
		uint64_t a = sd_ram_u64(off + 8 * i), b = sd_ram_u64(first + 8 * i);

		if (sd_arch->is_table(a, user_levels) && sd_arch->is_table(b, user_levels) &&
		    sd_arch->child(a) == sd_arch->child(b))
			return true;
	}
	return false;
}

void sd_root_learn(unsigned cpu, uint64_t pc, uint64_t pa, bool kernel)
{
	unsigned level = kernel ? kernel_levels : user_levels;
	uint64_t off;

	if (!sd_pa_to_off(pa, &off) || is_known(off))
		return;
	g_mutex_lock(&structure);
	if (!is_known(off)) {
		uint64_t first = off & ~sd_arch->twin;
		bool twin = is_twin_of(off, first);
		struct table *t = begin(cpu, off, sd_root_slots, level,
					kernel ? sd_arch->root_va(true, level) : 0,
					twin ? sd_off_to_pa(first) : pa, kernel);

		t->is_root = true;
		t->is_twin = twin;
		sd_emit(cpu, &(struct sd_event){ .kind = SD_KIND_ROOT_LEARN,
						 .id = t->slots,
						 .pc = pc,
						 .b = pa,
						 .c = t->va,
						 .d = t->root,
						 .level = t->level });
		read_contents(cpu, pc, t);
	}
	g_mutex_unlock(&structure);
}

uint64_t sd_root_first(uint64_t pa)
{
	uint64_t off;

	if (!sd_pa_to_off(pa, &off) || !is_known(off) || !table_at(off)->is_twin)
		return pa;
	return table_at(off)->root;
}

void sd_root_forget(unsigned cpu, uint64_t pc, uint64_t pa)
{
	uint64_t off;

	if (!sd_pa_to_off(pa, &off) || !is_known(off))
		return;
	g_mutex_lock(&structure);
	if (is_known(off) && table_at(off)->is_root) {
		uint64_t twin = off | sd_arch->twin;

		if (twin != off && is_known(twin) && table_at(twin)->is_twin)
			unref(cpu, pc, sd_off_to_pa(twin));
		unref(cpu, pc, pa);
	}
	g_mutex_unlock(&structure);
}

bool sd_table_range(uint64_t off, uint64_t *va, uint64_t *size)
{
	if (!is_known(off))
		return false;
	*va = table_at(off)->va;
	*size = table_at(off)->slots * slot_span(table_at(off)->level);
	return true;
}

void sd_tables_kernel_root(uint64_t off)
{
	kernel_root_off = off;
}

bool sd_kernel_translate(uint64_t va, uint64_t *off)
{
	uint64_t at = kernel_root_off;

	while (at != UINT64_MAX && is_known(at)) {
		const struct table *t = table_at(at);
		uint64_t span = slot_span(t->level);
		uint64_t entry = t->slot[(va / span) % t->slots];

		if (sd_arch->is_leaf(entry, t->level))
			return sd_pa_to_off((sd_arch->child(entry) & ~(span - 1)) + va % span, off);
		if (!sd_arch->is_table(entry, t->level) ||
		    !sd_pa_to_off(sd_arch->child(entry), &at))
			break;
	}
	return false;
}

static unsigned slot_index(const struct table *t, uint64_t off)
{
	return (unsigned)((off - t->off) / 8);
}

/* An atomic's read half must have seen what the shadow holds. */
static void check_read(unsigned cpu, const struct table *t, const struct sd_store *st, uint64_t old)
{
	unsigned shift = 8 * (st->off & 7);
	uint64_t ignore = sd_arch->hardware_bits(old, t->level) >> shift;
	uint64_t shadow = (old >> shift) & sd_mask(st->size);

	if (((shadow ^ st->read) & ~ignore & sd_mask(st->size)) == 0)
		return;
	sd_emit(cpu, &(struct sd_event){ .kind = SD_KIND_AUDIT_MISMATCH,
					 .pc = st->pc,
					 .a = sd_off_to_pa(st->off),
					 .b = shadow,
					 .c = st->read,
					 .d = slot_va(t, slot_index(t, st->off)),
					 .level = t->level,
					 .size = st->size,
					 .flags = SD_FLAG_ATOMIC });
}

static void relink(unsigned cpu, uint64_t pc, struct table *t, unsigned index, uint64_t old,
		   uint64_t new)
{
	bool was = sd_arch->is_table(old, t->level);
	bool is = sd_arch->is_table(new, t->level);

	if (was && is && sd_arch->child(old) == sd_arch->child(new))
		return;
	if (!was && !is)
		return;
	g_mutex_lock(&structure);
	if (is)
		link_child(cpu, pc, t, index, new);
	if (was)
		unref(cpu, pc, sd_arch->child(old));
	g_mutex_unlock(&structure);
}

void sd_table_store(unsigned cpu, const struct sd_store *st)
{
	struct table *t = table_at(st->off);
	unsigned index = slot_index(t, st->off);
	unsigned shift = 8 * (st->off & 7);
	uint64_t mask = sd_mask(st->size) << shift;
	uint64_t old, new;

	if (G_UNLIKELY(!__atomic_load_n(&t->known, __ATOMIC_ACQUIRE)))
		return; /* given up meanwhile, or a word beside small roots */
	if (G_UNLIKELY(!__atomic_load_n(&t->ready, __ATOMIC_ACQUIRE))) {
		g_mutex_lock(&structure); /* wait for the contents to be read */
		g_mutex_unlock(&structure);
	}
	if (G_UNLIKELY(drop_countdown) && !__atomic_sub_fetch(&drop_countdown, 1, __ATOMIC_RELAXED))
		return;

	old = __atomic_load_n(&t->slot[index], __ATOMIC_ACQUIRE);
	/*
	 * What an atomic reports as written depends on the operation, and a failed
	 * cmpxchg reports a value too. The page-table lock is held, so memory is
	 * the answer (the walker may have added accessed or dirty by now).
	 */
	if (st->atomic)
		new = sd_ram_u64(st->off);
	else
		new = (old & ~mask) | ((st->value << shift) & mask);
	if (st->has_read)
		check_read(cpu, t, st, old);
	old = __atomic_exchange_n(&t->slot[index], new, __ATOMIC_ACQ_REL);
	if (old == new)
		return;
	sd_emit(cpu, &(struct sd_event){ .kind = SD_KIND_PTE_WRITE,
					 .pc = st->pc,
					 .a = sd_off_to_pa(st->off & ~7ull),
					 .b = old,
					 .c = new,
					 .d = slot_va(t, index),
					 .level = t->level,
					 .size = st->size,
					 .flags = st->atomic ? SD_FLAG_ATOMIC : 0 });
	sd_epoch_bump();
	note_use(t, new);
	if (t->level > 1)
		relink(cpu, st->pc, t, index, old, new);
	else if (is_user(t))
		sd_delay_entry(cpu, st->pc, slot_va(t, index), old, new);
}
