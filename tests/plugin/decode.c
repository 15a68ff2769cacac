/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The plugin's decoders on their own: reads instructions, one a line, prints what
 * the decoder makes of each.
 *
 *   decode ARCH [user | TCR_EL1]
 *   in:  BYTES [REG=VALUE...]	  hexadecimal; every other register is zero
 *   out: KIND RMW REG BASE INDEX SCALE DISP MARK [| KIND ID A B C D LEVEL FLAGS]... | EPOCHS
 *
 * Behind each bar is an event that running the instruction reports, and at last how
 * often it moved the epoch; instructions without registers behind them are not run.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch.h"
#include "delay.h"
#include "observe.h"
#include "tables.h"
#include "trace.h"

enum { PC = 0x1000 };

const struct sd_arch *sd_arch;
struct sd_cpu sd_cpus[SD_MAX_CPUS];
struct sd_memory sd_mem;
bool sd_user_seen;
uint64_t sd_obs_epoch;

static uint64_t registers[SD_MAX_REGS];
static bool silent;

uint64_t sd_reg(unsigned cpu, unsigned index)
{
	(void)cpu;
	return registers[index];
}

void sd_delay_root(unsigned cpu)
{
	(void)cpu;
}

/* The only memory that decoders read is the frame of IRET: user code at 0x42. */
bool sd_read_va(unsigned cpu, uint64_t va, void *ret, size_t size)
{
	uint64_t frame[2] = { 0x42, 0x33 };

	(void)cpu;
	(void)va;
	memcpy(ret, frame, MIN(size, sizeof(frame)));
	return true;
}

void sd_root_learn(unsigned cpu, uint64_t pc, uint64_t pa, bool kernel)
{
	(void)cpu;
	(void)pc;
	(void)pa;
	(void)kernel;
}

uint64_t sd_root_first(uint64_t pa)
{
	return pa;
}

void sd_tables_set_roots(unsigned kernel, unsigned user, unsigned slots)
{
	(void)kernel;
	(void)user;
	(void)slots;
}

void sd_emit(unsigned cpu, const struct sd_event *ev)
{
	(void)cpu;
	if (silent)
		return;
	if (sd_obs_epoch) /* it moves after the event */
		abort();
	printf(" | %u %u %#" PRIx64 " %#" PRIx64 " %#" PRIx64 " %#" PRIx64 " %u %u", ev->kind,
	       ev->id, ev->a, ev->b, ev->c, ev->d, ev->level, ev->flags);
}

static size_t parse_bytes(const char *hex, uint8_t *bytes, size_t room)
{
	size_t n = 0;

	for (; n < room && sscanf(hex + 2 * n, "%2hhx", &bytes[n]) == 1; n++)
		;
	return n;
}

static void set_register(char *assignment)
{
	char *value = strchr(assignment, '=');

	if (value) {
		*value++ = 0;
		for (unsigned i = 0; sd_arch->regs[i]; i++)
			if (!strcmp(sd_arch->regs[i], assignment))
				registers[i] = strtoull(value, NULL, 0);
	}
}

static void decode(char *line, bool kernel)
{
	struct sd_insn insn = { .pc = PC };
	uint8_t bytes[16];
	char *save = NULL, *word = strtok_r(line, " \n", &save);
	size_t len = word ? parse_bytes(word, bytes, sizeof(bytes)) : 0;
	bool run = false;

	memset(registers, 0, sizeof(registers));
	sd_obs_epoch = 0;
	while ((word = strtok_r(NULL, " \n", &save))) {
		set_register(word);
		run = true;
	}
	sd_arch->decode(&insn, bytes, len, kernel);
	printf("%u %u %u %u %u %u %d %u", insn.kind, insn.rmw, insn.reg, insn.base, insn.index,
	       insn.scale, insn.disp, insn.mark);
	if (run && insn.kind == SD_INSN_EXEC)
		sd_arch->exec(0, &insn);
	printf(" | %" PRIu64 "\n", sd_obs_epoch);
}

/* Recording starts on a CPU with this TCR_EL1. */
static void arm(const char *tcr)
{
	char assignment[64];
	unsigned kernel, user;

	snprintf(assignment, sizeof(assignment), "TCR_EL1=%s", tcr);
	set_register(assignment);
	silent = true;
	sd_arch->arm(0, &kernel, &user);
	silent = false;
}

int main(int argc, char **argv)
{
	char line[512];

	if (argc < 2)
		return 2;
	sd_arch = strcmp(argv[1], "arm64") ? &sd_arch_x86_64 : &sd_arch_arm64;
	if (argc > 2 && strcmp(argv[2], "user"))
		arm(argv[2]);
	while (fgets(line, sizeof(line), stdin))
		decode(line, argc < 3 || strcmp(argv[2], "user"));
	return 0;
}
