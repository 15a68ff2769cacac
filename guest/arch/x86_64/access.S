/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One load and one store that may fault: see access.h. */
	.text

	.globl	access_load
	.type	access_load, @function
	.globl	access_load_at
access_load:
access_load_at:
	movq	(%rdi), %rax
	movq	%rax, (%rsi)
	movl	$1, %eax
	ret
	.size	access_load, . - access_load

	.globl	access_store
	.type	access_store, @function
	.globl	access_store_at
access_store:
access_store_at:
	movq	%rsi, (%rdi)
	movl	$1, %eax
	ret
	.size	access_store, . - access_store

	.globl	access_faulted
	.type	access_faulted, @function
access_faulted:
	xorl	%eax, %eax
	ret
	.size	access_faulted, . - access_faulted

	.section .note.GNU-stack, "", @progbits
