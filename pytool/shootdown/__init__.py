"""Watch a Linux guest's page tables, TLB flushes and mmap_lock under QEMU, and check them."""

__version__ = "0.1.0"
