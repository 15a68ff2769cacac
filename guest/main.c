// SPDX-License-Identifier: GPL-2.0-or-later
/* /init: the agent when it is the first process, otherwise one of its helpers. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "agent.h"
#include "arch.h"
#include "boot.h"
#include "channel.h"
#include "helper.h"

static void first_process(void)
{
	const char *path;

	boot_mount();
	path = boot_agent_tty(ARCH_AGENT_TTY);
	if (channel_open(path))
		agent_serve();
	else
		fprintf(stderr, "agent: cannot open %s: %s\n", path, strerror(errno));
	boot_power_off();
}

int main(int argc, char **argv)
{
	if (getpid() == 1)
		first_process();
	return helper_main(argc, argv);
}
