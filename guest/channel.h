/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The agent's channel: lines of text over a serial port of its own, in raw mode. */
#ifndef CHANNEL_H
#define CHANNEL_H

#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

enum line {
	LINE_OK,
	LINE_TOO_LONG, /* the whole line was swallowed */
	LINE_CLOSED,   /* nobody will ever speak again */
};

/* Open the terminal @path. Returns false with errno set. */
bool channel_open(const char *path);

/* Give a program that is about to be spawned the channel as descriptor @as. */
void channel_hand_down(posix_spawn_file_actions_t *files, int as);

/* Speak over the inherited descriptor @file, and do not hand it down further. */
void channel_adopt(int file);

/* Read one line without its newline (a carriage return before it is dropped). */
enum line channel_read(char *line, size_t size);

/* Send one line; all but printable ASCII becomes `?`, what is too long is cut. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
void vsay(const char *format, va_list args);

#endif
