/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The operations of the workload counting_events, one after another in a hole of a block. */
#ifndef EVENT_PHASES_H
#define EVENT_PHASES_H

enum { EVENT_PHASES = 21 };

struct event_phase {
	const char *name; /* up to 16 characters */
	void (*act)(void);
};

/* The fork first; then the phases of VMAs, whose names begin with a v; then those of areas. */
extern const struct event_phase event_phases[EVENT_PHASES];

/* Once: the block, and the files the phases use. */
void event_phases_prepare(void);

/* What the phases of faults and of GUP work on: map it, and take it away after the last phase. */
void event_phases_map(void);
void event_phases_clear(void);

#endif
