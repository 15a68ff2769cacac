/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Many page tables with little memory. */
#ifndef SPREAD_H
#define SPREAD_H

/* Entries that spread_map sets in each table: some of pages of its own, most of the zero page. */
enum { SPREAD_WRITTEN = 4, SPREAD_READ = 36 };

/* Map memory that needs @tables last-level tables with SPREAD_WRITTEN + SPREAD_READ entries each. */
char *spread_map(unsigned int tables);
void spread_unmap(char *memory, unsigned int tables);

#endif
