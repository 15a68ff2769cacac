/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Trace writer: one append-only file and one buffer per vCPU.
 *
 * A full buffer is written by the vCPU thread that filled it. What cannot be
 * written is counted as lost and said in the trailer, for which some records are
 * given up when the disk is full; a file without a trailer is one whose writer was
 * killed.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "anchor.h"
#include "arch.h"
#include "live.h"
#include "trace.h"

enum { TRAILER_ROOM = SD_PAGE_SIZE / SD_RECORD_BYTES };

static uint64_t next_seq;
static struct qemu_plugin_scoreboard *icounts;

static uint64_t single_icount;

static void on_block(unsigned cpu, void *insns)
{
	(void)cpu;
	single_icount += (uintptr_t)insns;
}

void sd_icount_instrument(struct qemu_plugin_tb *tb)
{
	size_t n = qemu_plugin_tb_n_insns(tb);

	if (sd_single)
		qemu_plugin_register_vcpu_tb_exec_cb(tb, on_block, QEMU_PLUGIN_CB_NO_REGS,
						     (void *)(uintptr_t)n);
	else
		qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(
			tb, QEMU_PLUGIN_INLINE_ADD_U64, qemu_plugin_scoreboard_u64(icounts), n);
}

static uint64_t icount_now(void)
{
	return sd_single ? single_icount : qemu_plugin_u64_sum(qemu_plugin_scoreboard_u64(icounts));
}

static bool write_all(int fd, const void *data, size_t len)
{
	const char *p = data;

	while (len) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		p += n;
		len -= (size_t)n;
	}
	return true;
}

static bool write_header(int fd, unsigned cpu)
{
	char block[SD_HEADER_BYTES] = { 0 };
	struct sd_file_header *h = (struct sd_file_header *)block;
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	memcpy(h->magic, SD_MAGIC, sizeof(h->magic));
	h->version = SD_VERSION;
	h->header_bytes = SD_HEADER_BYTES;
	h->record_bytes = SD_RECORD_BYTES;
	h->cpu = cpu;
	h->start_realtime_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
	return write_all(fd, block, sizeof(block));
}

void sd_trace_slide(uint64_t slide)
{
	for (unsigned i = 0; i < sd_ncpus; i++)
		if (pwrite(sd_cpus[i].fd, &slide, sizeof(slide),
			   offsetof(struct sd_file_header, slide)) != sizeof(slide))
			sd_cpus[i].lost++;
}

bool sd_trace_open(const char *dir, unsigned ncpus)
{
	icounts = qemu_plugin_scoreboard_new(sizeof(uint64_t));
	for (unsigned i = 0; i < ncpus; i++) {
		struct sd_cpu *c = &sd_cpus[i];
		g_autofree char *path = g_strdup_printf("%s/cpu%u.trace", dir, i);

		c->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
		if (c->fd < 0 || !write_header(c->fd, i)) {
			fprintf(stderr, "shootdown: cannot write %s: %s\n", path, strerror(errno));
			return false;
		}
		c->buf = g_new0(struct sd_event, SD_TRACE_RECORDS);
		c->scratch = g_byte_array_sized_new(SD_PAGE_SIZE);
	}
	return true;
}

/*
 * After a write that failed, maybe in the middle of a record: go back to the last
 * whole one. What comes later may be written again, a gap is no harm.
 */
static void step_back(struct sd_cpu *c)
{
	off_t end;

	if (!c->full) {
		uint64_t room = MIN(c->written, (uint64_t)TRAILER_ROOM);

		fprintf(stderr, "shootdown: trace write failed: %s\n", strerror(errno));
		c->full = true;
		c->written -= room;
		c->lost += room;
	}
	end = (off_t)(SD_HEADER_BYTES + c->written * SD_RECORD_BYTES);
	if (ftruncate(c->fd, end) || lseek(c->fd, end, SEEK_SET) != end) {
		close(c->fd);
		c->fd = -1;
	}
}

void sd_trace_flush(struct sd_cpu *c)
{
	if (!c->fill)
		return;
	if (c->fd >= 0 && write_all(c->fd, c->buf, c->fill * sizeof(*c->buf))) {
		c->written += c->fill;
	} else {
		c->lost += c->fill;
		if (c->fd >= 0)
			step_back(c);
	}
	c->fill = 0;
}

static void append(struct sd_cpu *c, unsigned cpu, const struct sd_event *ev)
{
	struct sd_event *slot = &c->buf[c->fill];

	*slot = *ev;
	slot->cpu = (uint8_t)cpu;
	slot->pc = sd_linked(ev->pc);
	slot->icount = icount_now();
	slot->seq = __atomic_fetch_add(&next_seq, 1, __ATOMIC_SEQ_CST);
	c->kinds[ev->kind]++;
	if (++c->fill == SD_TRACE_RECORDS)
		sd_trace_flush(c);
}

/* With thread=single the one thread there is writes for all vCPUs. */
static void flush_due(struct sd_cpu *c)
{
	if (!sd_single)
		sd_trace_flush(c);
	for (unsigned i = 0; sd_single && i < sd_ncpus; i++) {
		sd_cpus[i].tide = c->tide;
		sd_trace_flush(&sd_cpus[i]);
	}
}

void sd_emit(unsigned cpu, const struct sd_event *ev)
{
	struct sd_cpu *c = &sd_cpus[cpu];
	bool due = sd_live_due(c); /* before the record: the buffer must be ours */

	append(c, cpu, ev);
	if (G_UNLIKELY(due))
		flush_due(c);
}

static void write_trailer(struct sd_cpu *c, unsigned cpu)
{
	for (unsigned k = 0; k < SD_KIND_COUNT; k++) {
		struct sd_event ev = { .kind = SD_KIND_COUNT, .id = (uint16_t)k, .a = c->kinds[k] };

		if (c->kinds[k])
			append(c, cpu, &ev);
	}

	struct sd_event end = { .kind = SD_KIND_TRAILER,
				.a = c->written + c->fill,
				.b = c->lost,
				.c = c->reread_tables,
				.d = c->reread_slots };
	append(c, cpu, &end);
	sd_trace_flush(c);
}

void sd_trace_close(void)
{
	sd_live_stop();
	for (unsigned i = 0; i < sd_ncpus; i++) {
		struct sd_cpu *c = &sd_cpus[i];

		sd_trace_flush(c);
		write_trailer(c, i);
		if (c->fd >= 0)
			close(c->fd);
		c->fd = -1;
	}
}
