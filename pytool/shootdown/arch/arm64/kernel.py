"""Linux on arm64: what no BTF and no symbol tells."""

from __future__ import annotations

from shootdown.arch.base import Kernel

_ERRNO_MAX = 4095
"""include/linux/err.h: MAX_ERRNO."""

# include/uapi/asm-generic/unistd.h, which has no fork and no vfork
_SYSCALLS = {
    "ftruncate": 46,
    "fallocate": 47,
    "openat": 56,
    "close": 57,
    "read": 63,
    "write": 64,
    "writev": 66,
    "pread64": 67,
    "pwrite64": 68,
    "exit": 93,
    "exit_group": 94,
    "waitid": 95,
    "futex": 98,
    "nanosleep": 101,
    "clock_nanosleep": 115,
    "sched_yield": 124,
    "rt_sigreturn": 139,
    "prctl": 167,
    "getpid": 172,
    "gettid": 178,
    "shmat": 196,
    "shmdt": 197,
    "brk": 214,
    "munmap": 215,
    "mremap": 216,
    "clone": 220,
    "execve": 221,
    "mmap": 222,
    "mprotect": 226,
    "msync": 227,
    "mlock": 228,
    "munlock": 229,
    "mlockall": 230,
    "munlockall": 231,
    "mincore": 232,
    "madvise": 233,
    "remap_file_pages": 234,
    "mbind": 235,
    "migrate_pages": 238,
    "move_pages": 239,
    "wait4": 260,
    "process_vm_readv": 270,
    "process_vm_writev": 271,
    "memfd_create": 279,
    "execveat": 281,
    "userfaultfd": 282,
    "membarrier": 283,
    "pkey_mprotect": 288,
    "clone3": 435,
    "process_madvise": 440,
    "process_mrelease": 448,
    "mseal": 462,
}

KERNEL = Kernel(syscalls=_SYSCALLS, syscall_fail_from=(1 << 64) - _ERRNO_MAX)
