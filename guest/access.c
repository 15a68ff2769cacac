// SPDX-License-Identifier: GPL-2.0-or-later
#include "access.h"

#include <signal.h>
#include <stddef.h>

#include "arch.h"
#include "workload.h"

/* The two instructions that may fault, and where they go on. */
extern const char access_load_at[], access_store_at[], access_faulted[];

static void skip_access(int signal_number, siginfo_t *info, void *data)
{
	ucontext_t *context = data;
	uintptr_t pc = context_pc(context);

	(void)info;
	if (pc == (uintptr_t)access_load_at || pc == (uintptr_t)access_store_at)
		context_set_pc(context, (uintptr_t)access_faulted);
	else
		signal(signal_number, SIG_DFL); /* a real crash: let it happen again */
}

void access_init(void)
{
	struct sigaction action = { .sa_sigaction = skip_access, .sa_flags = SA_SIGINFO };

	sigemptyset(&action.sa_mask);
	if (sigaction(SIGSEGV, &action, NULL) || sigaction(SIGBUS, &action, NULL))
		die("sigaction");
}
