import pytest

from shootdown import arch
from shootdown.model.entries import Call
from shootdown.model.syscalls import area, operation, promise

X86 = arch.get("x86_64")


def call(name: str, *args: int, result: int = 0) -> Call:
    return Call(name, list(args), seq=1, cpu=0, root=0x10000, task=0x100, end=9, result=result)


@pytest.mark.parametrize(
    ("made", "name"),
    [
        (call("mmap", 0x1000, 0x1000, 3, 0x32), "mmap(MAP_FIXED)"),
        (call("mmap", 0x1000, 0x1000, 3, 0x22), ""),
        # MAP_FIXED_NOREPLACE fails where something is mapped, so it replaces nothing.
        (call("mmap", 0x1000, 0x1000, 3, 0x100022), ""),
        (call("munmap", 0x1000, 0x1000), "munmap"),
        (call("mprotect", 0x1000, 0x1000, 1), "mprotect"),
        (call("pkey_mprotect", 0x1000, 0x1000, 1, 2), "mprotect"),
        (call("mremap", 0x1000, 0x1000, 0x2000), "mremap"),
        (call("madvise", 0x1000, 0x1000, 4), "madvise(MADV_DONTNEED)"),
        (call("madvise", 0x1000, 0x1000, 24), "madvise(MADV_DONTNEED_LOCKED)"),
        (call("madvise", 0x1000, 0x1000, 9), "madvise(MADV_REMOVE)"),
        (call("madvise", 0x1000, 0x1000, 8), ""),
        (call("clone", 0x11), "fork"),
        (call("clone", 0x3D0F00), ""),
        (call("clone3", 0x7000, 88), "fork"),
        (call("getpid"), ""),
        (None, ""),
    ],
    ids=str,
)
def test_operation(made, name):
    assert operation(made) == name


@pytest.mark.parametrize(
    ("made", "ranges"),
    [
        (call("munmap", 0x1000, 0x1001), ((0x1000, 0x3000),)),
        (call("munmap", 0x5A00000000001000, 0x1000), ((0x1000, 0x2000),)),
        # moved: what was left, and what was taken
        (
            call("mremap", 0x1000, 0x1000, 0x2000, 1, result=0x9000),
            ((0x1000, 0x2000), (0x9000, 0xB000)),
        ),
        (call("mremap", 0x1000, 0x3000, 0x1000, 1, result=0x1000), ((0x2000, 0x4000),)),
        (call("mremap", 0x1000, 0x1000, 0x2000, 1, result=0x1000), ()),
        # old_size 0 duplicates a shared mapping and leaves nothing
        (call("mremap", 0x1000, 0, 0x1000, 1, result=0x9000), ((0x1000, 0x1000), (0x9000, 0xA000))),
    ],
)
def test_ranges(made, ranges):
    promised = promise(made, X86)
    assert promised is not None
    assert promised.ranges == ranges


@pytest.mark.parametrize("errno", [1, 22, 4095])
def test_failure_promises_nothing(errno):
    assert promise(call("munmap", 0x1000, 0x1000, result=2**64 - errno), X86) is None


def test_high_address_is_no_error():
    assert promise(call("mmap", 0x1000, 0x1000, 3, 0x32, result=2**64 - 4096), X86)


def test_missing_arguments_are_zero():
    assert area(call("munmap", 0x1000)) == (0x1000, 0x1000)


def test_fork_has_no_area():
    assert area(call("clone3", 0x7000, 88)) == (0, 0)
