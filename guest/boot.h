/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the first process owes the machine. */
#ifndef BOOT_H
#define BOOT_H

#include <stddef.h>

/* Mount what workloads expect. What this kernel does not offer is left out. */
void boot_mount(void);

/* Path of the agent's terminal: `shootdown.agent=NAME` of the kernel command line, or @fallback. */
const char *boot_agent_tty(const char *fallback);

/* Kill everybody else and switch the machine off. */
void boot_power_off(void) __attribute__((noreturn));

#endif
