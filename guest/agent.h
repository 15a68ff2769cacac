/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The agent: obeys the lines of its channel (docs/architecture.md) until `quit`. */
#ifndef AGENT_H
#define AGENT_H

/* Descriptor of the channel in a program that the agent starts. */
enum { JOB_CHANNEL = 3 };

/* Serve the open channel. Returns after `bye`, or when the channel closed. */
void agent_serve(void);

#endif
