/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the program does when it is not the first process. */
#ifndef HELPER_H
#define HELPER_H

/* Obey argv[1]; returns the exit status, 2 when the arguments make no sense. */
int helper_main(int argc, char **argv);

#endif
