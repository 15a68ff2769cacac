// SPDX-License-Identifier: GPL-2.0-or-later
#include "thread.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "area.h"
#include "marks.h"
#include "workload.h"

enum { STACK_BYTES = 256 * 1024, OBSERVER_NICENESS = 10 };

int thread_cpus(void)
{
	/* Not sched_getaffinity: the mapper asks after it pinned itself. */
	return (int)sysconf(_SC_NPROCESSORS_ONLN);
}

int thread_observer_cpu(int index)
{
	return index + 1 < thread_cpus() ? index + 1 : ANY_CPU;
}

static void pin(int cpu)
{
	int cpus = thread_cpus();
	cpu_set_t set;

	CPU_ZERO(&set);
	for (int each = 0; each < cpus; each++)
		if (cpu == ANY_CPU || each == cpu)
			CPU_SET(each, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		die("sched_setaffinity to CPU %d", cpu);
}

void thread_become(const char *name, int cpu)
{
	prctl(PR_SET_NAME, name);
	pin(cpu);
	mark_thread(name);
}

static void *thread_main(void *data)
{
	struct thread *thread = data;

	thread_become(thread->name, thread->cpu);
	/* The mapper may have to share its CPU, and must not wait for an observer's time slice. */
	setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), OBSERVER_NICENESS);
	thread->run(thread->argument);
	return NULL;
}

void thread_start(struct thread *thread, const char *name, int cpu, void (*run)(void *),
		  void *argument)
{
	pthread_attr_t attributes;

	snprintf(thread->name, sizeof(thread->name), "%s", name);
	thread->cpu = cpu;
	thread->run = run;
	thread->argument = argument;
	/* Stacks are shared memory for the reason that area_shared gives. */
	pthread_attr_init(&attributes);
	pthread_attr_setstack(&attributes, area_shared(STACK_BYTES), STACK_BYTES);
	errno = pthread_create(&thread->id, &attributes, thread_main, thread);
	pthread_attr_destroy(&attributes);
	if (errno)
		die("pthread_create");
}

void thread_join(struct thread *thread)
{
	errno = pthread_join(thread->id, NULL);
	if (errno)
		die("pthread_join");
}
