"""x86-64: the machine, the MMU, the kernel's facts and the profiles, one file each."""
