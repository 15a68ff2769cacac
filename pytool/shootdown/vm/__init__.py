"""The virtual machine: QEMU and every way to speak with it or its guest."""
