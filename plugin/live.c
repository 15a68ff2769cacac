/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A trace that is read while it is written: no record stays in a buffer for long.
 *
 * A vCPU that runs writes its buffer with its first record after the tide has moved.
 * One that is idle, or was stopped, records nothing and would keep its last records
 * for as long as it sleeps. So a buffer has an owner: its vCPU from its first record
 * after it woke until it is idle again, and a thread of ours while that writes it.
 * A record costs no lock and no atomic read-modify-write for it; going idle a store.
 *
 * With thread=single QEMU does not say when a vCPU is idle (accel/tcg/tcg-accel-ops-rr.c),
 * but all vCPUs are one thread, so the first record of any of them writes all buffers.
 */
#include <signal.h>

#include "arch.h"
#include "live.h"
#include "trace.h"

enum { NOBODY, VCPU, WRITER };

bool sd_live;
uint64_t sd_live_tide;

static unsigned interval_ms;
static GThread *thread;
static GMutex waiting;
static GCond ending;
static bool ended;

static bool take(struct sd_cpu *c, int who)
{
	int nobody = NOBODY;

	return __atomic_compare_exchange_n(&c->owner, &nobody, who, false, __ATOMIC_ACQUIRE,
					   __ATOMIC_RELAXED);
}

void sd_live_own(struct sd_cpu *c)
{
	while (!take(c, VCPU))
		g_thread_yield();
	c->owns = true;
}

void sd_live_disown(struct sd_cpu *c)
{
	if (!c->owns)
		return;
	c->owns = false;
	__atomic_store_n(&c->owner, NOBODY, __ATOMIC_RELEASE);
}

/* Called by the vCPU's thread, also when it is stopped from outside. */
static void on_idle(qemu_plugin_id_t id, unsigned cpu)
{
	(void)id;
	sd_live_disown(&sd_cpus[cpu]);
}

static void write_idle(void)
{
	for (unsigned i = 0; i < sd_ncpus; i++) {
		struct sd_cpu *c = &sd_cpus[i];

		if (!take(c, WRITER))
			continue;
		sd_trace_flush(c);
		__atomic_store_n(&c->owner, NOBODY, __ATOMIC_RELEASE);
	}
}

static gpointer write_often(gpointer unused)
{
	g_mutex_lock(&waiting);
	while (!ended) {
		gint64 next = g_get_monotonic_time() + interval_ms * G_TIME_SPAN_MILLISECOND;

		__atomic_fetch_add(&sd_live_tide, 1, __ATOMIC_RELAXED);
		write_idle();
		while (!ended && g_cond_wait_until(&ending, &waiting, next))
			;
	}
	g_mutex_unlock(&waiting);
	return unused;
}

void sd_live_start(qemu_plugin_id_t id, unsigned ms)
{
	sigset_t all, before;

	if (!ms)
		return;
	interval_ms = ms;
	sd_live = true;
	if (!sd_single)
		qemu_plugin_register_vcpu_idle_cb(id, on_idle);
	/* Signals are for QEMU's own threads. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	thread = g_thread_new("shootdown", write_often, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void sd_live_stop(void)
{
	if (!thread)
		return;
	g_mutex_lock(&waiting);
	ended = true;
	g_cond_signal(&ending);
	g_mutex_unlock(&waiting);
	g_thread_join(thread);
	thread = NULL;
}
