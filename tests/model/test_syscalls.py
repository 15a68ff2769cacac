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
        (call("process_madvise", 3, 0x7000, 1, 4), "process_madvise(MADV_DONTNEED)"),
        (call("process_madvise", 3, 0x7000, 4, 20), ""),
        (call("brk", 0x1000), "brk"),
        (call("shmdt", 0x1000), "shmdt"),
        (call("shmat", 7, 0x1000, 0), ""),
        (call("shmat", 7, 0x1000, 0o40000), "shmat(SHM_REMAP)"),
        (call("remap_file_pages", 0x1000, 0x1000), "remap_file_pages"),
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


@pytest.mark.parametrize(
    "made", [call("clone3", 0x7000, 88), call("brk", 0x1000), call("shmdt", 0x1000)], ids=str
)
def test_no_area(made):
    assert area(made) == (0, 0)


@pytest.mark.parametrize(
    ("made", "start"),
    [
        (call("brk", 0x1001, result=0x1001), 0x2000),
        (call("shmdt", 0x1000), 0x1000),
        (call("shmat", 7, 0x1FFF, 0o60000, result=0x1000), 0x1000),
        (call("process_madvise", 3, 0x7000, 1, 4, result=0x2000), 0),
    ],
)
def test_open_ranges(made, start):
    promised = promise(made, X86)
    assert promised is not None
    assert promised.own
    assert promised.ranges == ((start, 1 << 56),)


def test_brk_that_refuses_says_so_by_its_result():
    assert promise(call("brk", 0x1000, result=0x2000), X86) is None
    assert promise(call("brk", 0, result=0x2000), X86) is None


def test_remap_file_pages_cuts_what_munmap_rounds_up():
    promised = promise(call("remap_file_pages", 0x1FFF, 0x2FFF), X86)
    assert promised is not None
    assert promised.ranges == ((0x1000, 0x3000),)
