// SPDX-License-Identifier: GPL-2.0-or-later
#include "channel.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

static int channel = -1;

static struct {
	char bytes[512];
	size_t length, next;
} input;

bool channel_open(const char *path)
{
	struct termios mode;

	/* Not blocking: a serial port may wait for a carrier that nobody raises. */
	channel = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	if (channel < 0 || fcntl(channel, F_SETFL, O_RDWR) < 0)
		return false;
	if (tcgetattr(channel, &mode))
		return false;
	cfmakeraw(&mode);
	mode.c_cflag |= CLOCAL | CREAD;
	mode.c_cc[VMIN] = 1;
	mode.c_cc[VTIME] = 0;
	cfsetspeed(&mode, B115200);
	return tcsetattr(channel, TCSANOW, &mode) == 0;
}

void channel_hand_down(posix_spawn_file_actions_t *files, int as)
{
	posix_spawn_file_actions_adddup2(files, channel, as);
}

void channel_adopt(int file)
{
	channel = file;
	fcntl(channel, F_SETFD, FD_CLOEXEC);
}

static int next_byte(void)
{
	if (input.next == input.length) {
		ssize_t got;

		do
			got = read(channel, input.bytes, sizeof(input.bytes));
		while (got < 0 && errno == EINTR);
		if (got <= 0)
			return -1;
		input.length = got;
		input.next = 0;
	}
	return (unsigned char)input.bytes[input.next++];
}

enum line channel_read(char *line, size_t size)
{
	size_t length = 0;
	bool fits = true;
	int byte;

	while ((byte = next_byte()) >= 0 && byte != '\n') {
		if (length + 1 < size)
			line[length++] = (char)byte;
		else
			fits = false;
	}
	if (byte < 0)
		return LINE_CLOSED;
	if (length && line[length - 1] == '\r')
		length--;
	line[length] = '\0';
	return fits ? LINE_OK : LINE_TOO_LONG;
}

void vsay(const char *format, va_list args)
{
	char line[1024];
	int length = vsnprintf(line, sizeof(line) - 1, format, args);

	if (length < 0)
		return;
	if ((size_t)length > sizeof(line) - 2)
		length = sizeof(line) - 2;
	for (int i = 0; i < length; i++)
		if (line[i] < ' ' || line[i] > '~')
			line[i] = '?';
	line[length++] = '\n';
	for (int sent = 0; sent < length;) {
		ssize_t wrote = write(channel, line + sent, length - sent);

		if (wrote < 0 && errno != EINTR)
			return; /* nobody to tell it to */
		if (wrote > 0)
			sent += wrote;
	}
}

void say(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsay(format, args);
	va_end(args);
}
