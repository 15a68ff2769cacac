"""Linux on x86-64: what no BTF and no symbol tells."""

from __future__ import annotations

from shootdown.arch.base import Kernel

_ERRNO_MAX = 4095
"""include/linux/err.h: MAX_ERRNO."""

# arch/x86/entry/syscalls/syscall_64.tbl
_SYSCALLS = {
    "read": 0,
    "write": 1,
    "open": 2,
    "close": 3,
    "mmap": 9,
    "mprotect": 10,
    "munmap": 11,
    "brk": 12,
    "rt_sigreturn": 15,
    "pread64": 17,
    "pwrite64": 18,
    "writev": 20,
    "sched_yield": 24,
    "mremap": 25,
    "msync": 26,
    "mincore": 27,
    "madvise": 28,
    "shmat": 30,
    "nanosleep": 35,
    "getpid": 39,
    "clone": 56,
    "fork": 57,
    "vfork": 58,
    "execve": 59,
    "exit": 60,
    "wait4": 61,
    "shmdt": 67,
    "ftruncate": 77,
    "mlock": 149,
    "munlock": 150,
    "mlockall": 151,
    "munlockall": 152,
    "prctl": 157,
    "gettid": 186,
    "futex": 202,
    "remap_file_pages": 216,
    "clock_nanosleep": 230,
    "exit_group": 231,
    "mbind": 237,
    "waitid": 247,
    "migrate_pages": 256,
    "openat": 257,
    "move_pages": 279,
    "fallocate": 285,
    "process_vm_readv": 310,
    "process_vm_writev": 311,
    "memfd_create": 319,
    "execveat": 322,
    "userfaultfd": 323,
    "membarrier": 324,
    "pkey_mprotect": 329,
    "clone3": 435,
    "process_madvise": 440,
    "process_mrelease": 448,
    "mseal": 462,
}

KERNEL = Kernel(syscalls=_SYSCALLS, syscall_fail_from=(1 << 64) - _ERRNO_MAX)
