/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The plugin's shell: options, what is registered for each translated
 * instruction, and the callbacks that route stores to the tracker, the watches
 * and the observer.
 *
 * Needs QEMU plugin API 4 (QEMU 10.0): register and memory reads, values in
 * memory callbacks, inline per-vCPU counters.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch.h"
#include "delayhook.h"
#include "live.h"
#include "observe.h"
#include "plan.h"
#include "resume.h"
#include "store.h"
#include "trace.h"

QEMU_PLUGIN_EXPORT int qemu_plugin_version = QEMU_PLUGIN_VERSION;

struct sd_cpu sd_cpus[SD_MAX_CPUS];
unsigned sd_ncpus;
bool sd_armed, sd_user_seen;
uint64_t sd_obs_epoch;

static struct sd_plan plan;

/* --- instructions that are reported when they run ------------------------ */

static GHashTable *interned;
static GMutex interning;

static guint insn_hash(gconstpointer key)
{
	const struct sd_insn *i = key;

	return (guint)(i->pc ^ i->pc >> 32);
}

static gboolean insn_equal(gconstpointer a, gconstpointer b)
{
	return !memcmp(a, b, sizeof(struct sd_insn));
}

/* One copy of each reported instruction, for as long as the guest runs. */
static struct sd_insn *intern(const struct sd_insn *insn)
{
	struct sd_insn *copy;

	g_mutex_lock(&interning);
	if (!interned)
		interned = g_hash_table_new(insn_hash, insn_equal);
	copy = g_hash_table_lookup(interned, insn);
	if (!copy) {
		copy = g_memdup2(insn, sizeof(*insn));
		g_hash_table_add(interned, copy);
	}
	g_mutex_unlock(&interning);
	return copy;
}

static void on_exec(unsigned cpu, void *udata)
{
	if (sd_is_armed())
		sd_arch->exec(sd_self(cpu), udata);
}

static void on_mark(unsigned cpu, void *udata)
{
	const struct sd_insn *insn = udata;
	uint64_t arg[4];
	if (!sd_is_armed())
		return;
	cpu = sd_self(cpu);
	for (unsigned i = 0; i < 4; i++)
		arg[i] = sd_reg(cpu, sd_arch->args[i]);
	sd_observe_mark(cpu, insn->pc, insn->mark, arg);
}

static void on_probe(unsigned cpu, void *udata)
{
	if (sd_is_armed())
		sd_probe_hit(sd_self(cpu), udata);
}

/* --- the start of recording ------------------------------------------------ */

static bool resolve_layout(unsigned cpu)
{
	uint64_t va, pa, image_pa;

	if (!sd_term_eval(cpu, &plan.linear_va, &va) || !sd_term_eval(cpu, &plan.linear_pa, &pa))
		return false;
	sd_mem.linear_va = va - (pa - sd_mem.ram_base);
	if (plan.image_pa.n) {
		if (!sd_term_eval(cpu, &plan.image_pa, &image_pa) ||
		    !sd_pa_to_off(image_pa, &sd_mem.image_off) ||
		    plan.image_size > sd_mem.ram_size - sd_mem.image_off)
			return false;
		sd_mem.image_va = plan.image_va;
		sd_mem.image_size = plan.image_size;
	}
	return true;
}

/* Whether the RAM that was mapped is what the guest sees at a kernel VA. */
static bool agrees(unsigned cpu, uint64_t va)
{
	uint64_t off = sd_va_to_off(va), seen;

	va &= ~7ull;
	return off != UINT64_MAX && sd_read_va(cpu, va, &seen, sizeof(seen)) &&
	       seen == sd_ram_u64(off);
}

/* Image and linear map, by the text that runs and by the other address of the root table. */
static bool layout_fits(unsigned cpu, uint64_t *root_off)
{
	if (!resolve_layout(cpu))
		return false;
	*root_off = sd_va_to_off(plan.kernel_root);
	return *root_off != UINT64_MAX && agrees(cpu, plan.start) &&
	       agrees(cpu, sd_mem.linear_va + *root_off);
}

static bool add_static_watches(unsigned cpu)
{
	for (unsigned i = 0; i < plan.nwatches; i++) {
		struct sd_static_watch *w = &plan.watch[i];

		if (!w->percpu) {
			if (!sd_watch_add(cpu, 0, &w->word, w->word.offset, w->base))
				return false;
			continue;
		}
		for (unsigned n = 0; n < sd_ncpus; n++) {
			uint64_t base;

			if (!sd_read_va(cpu, w->array + 8ull * n, &base, sizeof(base)) ||
			    !sd_watch_add(cpu, 0, &w->word, base + w->word.offset, n))
				return false;
		}
	}
	return true;
}

/* The structures of page frames, when they were asked for. */
static bool find_pages(unsigned cpu)
{
	uint64_t va;

	return !plan.page_bytes ||
	       (sd_term_eval(cpu, &plan.pages, &va) && sd_pages_map(va, plan.page_bytes));
}

static void tell_pages(unsigned cpu)
{
	uint64_t below = (sd_mem.ram_base >> SD_PAGE_SHIFT) * plan.page_bytes;

	if (plan.page_bytes)
		sd_emit(cpu, &(struct sd_event){ .kind = SD_KIND_STRUCT_PAGES,
						 .a = sd_pages_va(0) - below,
						 .b = plan.page_bytes });
}

static void __attribute__((noreturn)) misfit(void)
{
	fprintf(stderr, "shootdown: the plan's memory layout does not fit this guest\n");
	exit(1);
}

/*
 * Recording begins on @cpu, which runs in the kernel while nobody else runs. The
 * kernel and its memory map are up by now, so the plan's terms can be read.
 */
static void begin(unsigned cpu)
{
	unsigned kernel_levels, user_levels;
	uint64_t root_off, slow_off;

	if (!layout_fits(cpu, &root_off))
		misfit();
	sd_arch->arm(cpu, &kernel_levels, &user_levels);
	sd_root_learn(cpu, 0, sd_off_to_pa(root_off), true);
	sd_tables_kernel_root(root_off);
	if (!find_pages(cpu))
		misfit();
	for (unsigned i = 0; i < G_N_ELEMENTS(sd_arch->roots); i++)
		if (sd_arch->roots[i] != SD_NO_REG)
			sd_arch->loaded(cpu, sd_arch->roots[i], sd_reg(cpu, sd_arch->roots[i]));
	sd_resume_roots(cpu);
	slow_off = plan.slow_table ? sd_va_to_off(plan.slow_table) : UINT64_MAX;
	if (slow_off != UINT64_MAX)
		sd_table_range(slow_off, &sd_mem.slow_va, &sd_mem.slow_size);
	sd_emit(cpu, &(struct sd_event){ .kind = SD_KIND_ARMED,
					 .a = sd_mem.linear_va,
					 .b = sd_mem.ram_base,
					 .c = sd_off_to_pa(root_off),
					 .d = user_levels,
					 .level = (uint8_t)kernel_levels,
					 .size = plan.stack });
	tell_pages(cpu);
	sd_trace_slide(sd_slide);
	if (!add_static_watches(cpu))
		misfit();
	sd_resume_objects(cpu);
	for (unsigned i = 0; i < sd_ncpus; i++) /* records of vCPUs that sleep were made for them */
		if (i != cpu)
			sd_live_disown(&sd_cpus[i]);
	__atomic_store_n(&sd_armed, true, __ATOMIC_RELEASE);
}

/* The plan's start address: on the boot CPU, before secondary CPUs and user space exist. */
static void on_start(unsigned cpu, void *udata)
{
	(void)udata;
	if (sd_is_armed())
		return;
	cpu = 0; /* the boot CPU, whatever QEMU says */
	if (plan.percpu)
		sd_self_offsets(cpu, plan.percpu);
	begin(cpu);
}

/* A restored guest runs its first block, and every other vCPU waits here before its own. */
static void on_resume(unsigned cpu, void *udata)
{
	static GMutex first;

	(void)udata;
	if (sd_is_armed())
		return;
	g_mutex_lock(&first);
	if (!sd_is_armed()) {
		if (plan.percpu)
			sd_self_offsets(cpu, plan.percpu);
		__atomic_store_n(&sd_user_seen, true, __ATOMIC_RELAXED);
		begin(sd_self(cpu));
	}
	g_mutex_unlock(&first);
}

/* --- translation -------------------------------------------------------- */

/* Until the kernel is found the plan says where it was linked; then, where it runs. */
static bool find_kernel(uint64_t pc)
{
	static bool found;

	if (G_LIKELY(found))
		return true;
	found = sd_resuming || !plan.anchor.n;
	if (!found && sd_anchor_at(&plan.anchor, pc)) {
		sd_plan_move(&plan, pc - plan.anchor.va);
		found = true;
	}
	return found;
}

static void instrument_kernel(struct qemu_plugin_insn *qi, struct sd_insn *insn)
{
	const struct sd_probe_point *p;
	bool found = find_kernel(insn->pc);

	if (found)
		sd_delay_instrument(qi, insn); /* before anything is told of it */
	for (unsigned n = 0; found && (p = sd_probe_at(insn->pc, n)); n++)
		qemu_plugin_register_vcpu_insn_exec_cb(qi, on_probe, QEMU_PLUGIN_CB_R_REGS,
						       (void *)p);
	if (found && insn->pc == plan.start)
		qemu_plugin_register_vcpu_insn_exec_cb(qi, on_start, QEMU_PLUGIN_CB_R_REGS, NULL);
	switch (insn->kind) {
	case SD_INSN_PLAIN:
		qemu_plugin_register_vcpu_mem_cb(qi, sd_on_store, QEMU_PLUGIN_CB_NO_REGS,
						 QEMU_PLUGIN_MEM_W, sd_store_pack(insn->pc, 0, 0));
		break;
	case SD_INSN_RMW:
		qemu_plugin_register_vcpu_mem_cb(qi, sd_on_atomic, QEMU_PLUGIN_CB_R_REGS,
						 insn->rmw == SD_RMW_LDXR ? QEMU_PLUGIN_MEM_R
									  : QEMU_PLUGIN_MEM_RW,
						 sd_store_pack(insn->pc, insn->rmw, insn->reg));
		break;
	case SD_INSN_EXEC:
		qemu_plugin_register_vcpu_insn_exec_cb(qi, on_exec, QEMU_PLUGIN_CB_R_REGS,
						       intern(insn));
		break;
	default:
		break;
	}
}

static void instrument_user(struct qemu_plugin_insn *qi, struct sd_insn *insn)
{
	if (insn->kind == SD_INSN_MARK)
		qemu_plugin_register_vcpu_insn_exec_cb(qi, on_mark, QEMU_PLUGIN_CB_R_REGS,
						       intern(insn));
	else if (plan.observe)
		qemu_plugin_register_vcpu_mem_cb(qi, sd_observe_access, QEMU_PLUGIN_CB_NO_REGS,
						 QEMU_PLUGIN_MEM_RW, (void *)(uintptr_t)insn->pc);
}

static void on_translate(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	size_t n = qemu_plugin_tb_n_insns(tb);
	/* Low addresses are the kernel's too until user mode has been entered. */
	bool kernel =
		qemu_plugin_tb_vaddr(tb) >> 63 || !__atomic_load_n(&sd_user_seen, __ATOMIC_RELAXED);

	(void)id;
	if (sd_resuming && !sd_is_armed())
		qemu_plugin_register_vcpu_tb_exec_cb(tb, on_resume, QEMU_PLUGIN_CB_R_REGS, NULL);
	sd_icount_instrument(tb);
	for (size_t i = 0; i < n; i++) {
		struct qemu_plugin_insn *qi = qemu_plugin_tb_get_insn(tb, i);
		struct sd_insn insn;
		uint8_t bytes[16];
		size_t len = qemu_plugin_insn_data(qi, bytes, sizeof(bytes));

		memset(&insn, 0, sizeof(insn)); /* padding too: insns are compared as bytes */
		insn.pc = qemu_plugin_insn_vaddr(qi);
		sd_arch->decode(&insn, bytes, len, kernel);
		if (kernel)
			instrument_kernel(qi, &insn);
		else
			instrument_user(qi, &insn);
	}
}

/* --- life ----------------------------------------------------------------- */

static void on_vcpu_init(qemu_plugin_id_t id, unsigned cpu)
{
	(void)id;
	if (!cpu && !sd_regs_find())
		exit(1);
}

static void at_end(qemu_plugin_id_t id, void *udata)
{
	(void)id;
	(void)udata;
	sd_observe_finish();
	sd_trace_close();
}

static bool parse_options(int argc, char **argv, const char **plan_path, const char **out)
{
	for (int i = 0; i < argc; i++) {
		if (g_str_has_prefix(argv[i], "plan="))
			*plan_path = argv[i] + strlen("plan=");
		else if (g_str_has_prefix(argv[i], "out="))
			*out = argv[i] + strlen("out=");
		else
			return false;
	}
	return *plan_path && *out;
}

QEMU_PLUGIN_EXPORT
int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv)
{
	const char *path = NULL, *out = NULL;

	if (!parse_options(argc, argv, &path, &out)) {
		fprintf(stderr, "shootdown: plugin arguments are plan=FILE,out=DIR\n");
		return -1;
	}
	if (!info->system_emulation || info->system.smp_vcpus > SD_MAX_CPUS) {
		fprintf(stderr, "shootdown: needs system emulation with at most %d vCPUs\n",
			SD_MAX_CPUS);
		return -1;
	}
	if (!sd_plan_read(path, info->target_name, &plan) ||
	    !sd_memory_map(plan.ram_base, plan.ram_size) || !sd_tables_init())
		return -1;
	sd_ncpus = (unsigned)info->system.smp_vcpus;
	if (!sd_trace_open(out, sd_ncpus))
		return -1;
	sd_single = plan.single;
	sd_parallel = !plan.single && info->system.max_vcpus > 1;
	sd_live_start(id, (unsigned)plan.live_ms);
	sd_watch_delay((unsigned)plan.delay_us);
	sd_tables_drop(plan.drop_store);
	qemu_plugin_register_vcpu_init_cb(id, on_vcpu_init);
	qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate);
	qemu_plugin_register_atexit_cb(id, at_end, NULL);
	return 0;
}
