/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One load and one store that may fault: see access.h. */
	.text

	.globl	access_load
	.type	access_load, %function
	.globl	access_load_at
access_load:
access_load_at:
	ldr	x2, [x0]
	str	x2, [x1]
	mov	w0, #1
	ret
	.size	access_load, . - access_load

	.globl	access_store
	.type	access_store, %function
	.globl	access_store_at
access_store:
access_store_at:
	str	x1, [x0]
	mov	w0, #1
	ret
	.size	access_store, . - access_store

	.globl	access_faulted
	.type	access_faulted, %function
access_faulted:
	mov	w0, #0
	ret
	.size	access_faulted, . - access_faulted

	.section .note.GNU-stack, "", %progbits
