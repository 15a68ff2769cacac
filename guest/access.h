/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * User accesses that may fault.
 *
 * access_load and access_store are one instruction each (arch/ARCH/access.S). When it
 * faults, the signal handler continues at access_faulted, which returns 0 to the caller:
 * no setjmp on the way in, so the loop of an observer stays a few instructions long.
 */
#ifndef ACCESS_H
#define ACCESS_H

#include <stdint.h>

/* Load the word at @from into @value. Returns 1, or 0 when the load faulted. */
int access_load(const void *from, uint64_t *value);

/* Store @value at @to. Returns 1, or 0 when the store faulted. */
int access_store(void *to, uint64_t value);

/* Install the handler of SIGSEGV and SIGBUS. A fault anywhere else still kills. */
void access_init(void);

#endif
