"""x86-64: the machine, the MMU and the kernel's facts, one file each."""
