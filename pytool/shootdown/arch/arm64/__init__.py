"""arm64 (AArch64): the machine, the MMU, the kernel's facts and the profiles, one file each."""
