/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Threads with names and CPUs. */
#ifndef THREAD_H
#define THREAD_H

#include <pthread.h>

enum { ANY_CPU = -1 };

struct thread {
	pthread_t id;
	char name[16];
	int cpu; /* or ANY_CPU */
	void (*run)(void *argument);
	void *argument;
};

/* Number of CPUs this process may use. */
int thread_cpus(void);

/* CPU of observer @index: the one after the mapper's (0) and its elders', or any when used up. */
int thread_observer_cpu(int index);

/* Name, mark and pin the calling thread. */
void thread_become(const char *name, int cpu);

/* Start @run(@argument) on @cpu; ends with thread_join. */
void thread_start(struct thread *thread, const char *name, int cpu, void (*run)(void *),
		  void *argument);
void thread_join(struct thread *thread);

#endif
