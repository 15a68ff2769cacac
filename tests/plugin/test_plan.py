"""Plans that are wrong: QEMU says one line and ends, and never crashes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from shootdown import arch
from shootdown.kernel import debian, facts, plan
from shootdown.kernel.cache import cache_root
from shootdown.trace.file import open_file
from tests.plugin.conftest import MEM_MIB, Boot

RAM = MEM_MIB << 20


@pytest.fixture(scope="module")
def good() -> str:
    """The plan that fits."""
    which = arch.get("x86_64")
    kernel = debian.resolve("debian:6.12", which, cache_root()).path
    return plan.make(facts.load(kernel, cache_root()), which, ram_size=RAM, events="none")


REFUSED = {
    "ram": [
        ("ram 0 0x7ffffff", "no range of whole pages"),
        ("ram 0x10 0x8000000", "no range of whole pages"),
        ("ram 0xfffffffffffff000 0x8000000", "no range of whole pages"),
        ("ram 0 0xffffffffffffffff", "no range of whole pages"),
        ("ram 0 0x8000000000000", "not a shared memory-backend-memfd"),
        ("ram 0 0x7fff000", "not a shared memory-backend-memfd"),
        ("ram 0 0", "is missing"),
        ("ram 0", "too few words"),
        ("ram 0 99999999999999999999999", "not a number"),
    ],
    "schema": [("schema 99", "another trace version"), ("", "is missing")],
    "arch": [("arch arm64", "another architecture"), ("", "must come first")],
    "linear": [("linear + 0", "not a term"), ("linear 1+2+3+4+5 0", "too many parts")],
    "watch": [
        ("watch 1 0xffffffff82d68de8 3 0", "not a word"),
        ("watch 1 0xffffffff82d68de8 0 0", "not a word"),
        ("watch 99999 0xffffffff82d68de8 8 0", "not a word"),
    ],
    "observe": [
        ("observe 1\n" + "set 1 1 0 8\n" * 70, "too many sets or words"),
        ("observe 1\nvcpu 0 rax 0x1000", "no root register of a vCPU"),
        ("observe 1\nvcpu 99 cr3 0x1000", "no root register of a vCPU"),
        ("observe 1\nvcpu 0 cr3", "too few words"),
        ("observe 1\nroot", "too few words"),
        ("observe 1\nobject 256 0xffff888000000000", "no such set"),
        ("observe 1\npages @0x10 0", "no such size"),
        ("observe 1\npages @0x10->x 64", "not a term"),
        ("observe 1\npages 0x10->0x8 64", "not a term"),
        ("observe 1\ntable_lock 20 0x28 3 6", "not a word"),
        ("observe 1\ntable_lock 20 0x28 1", "too few words"),
        ("observe 1\ncompound 0 6", "too few words"),
    ],
    "thread": [("thread single\ndelay 1 root rank 5 5", "delays need a thread for each vCPU")],
    "stack": [
        ("delay 1", "not a delay"),
        ("delay 65536 root rank 5 5", "not a delay"),
        ("delay 1 when rank 5 5", "neither exec, root nor pte"),
        ("delay 1 exec 0x1000 rank 5 5", "no instruction of the kernel"),
        ("delay 1 pte none present", "neither window nor any"),
        ("delay 1 pte none here any rank 5 5", "no class of entries"),
        ("delay 1 root", "not a delay"),
        ("delay 1 root often 5 5", "neither chance nor rank"),
        ("delay 1 root rank 0 5", "no such delay"),
        ("delay 1 root rank 100000001 5", "no such delay"),
        ("delay 1 root chance 1000001 5 0 5", "no such delay"),
        ("delay 1 root chance 5 0 0 5", "no such delay"),
        ("delay 1 root chance 5 1 27 5", "no such delay"),
        ("delay 1 root chance 5 1 33 5", "no such delay"),
        ("delay 1 root chance 5 1 0", "too few words"),
        ("delay 1 root rank 5 5\n" * 1025, "too many delays"),
        ("rank 64 0 0", "no such rank"),
        ("rank 0 0 64", "no such rank"),
        ("rank 0 5 1\nrank 0 5 2", "no such rank"),
        ("delay_seed", "too few words"),
    ],
    "anchor": [
        ("anchor 0x1000", "not an anchor"),
        ("anchor 0x1000 abc", "not an anchor"),
        ("anchor 0x1000 a?", "not an anchor"),
        ("anchor 0x1000 zz", "not an anchor"),
        ("anchor 0x1000 aa bb", "not an anchor"),
        ("anchor 0x1000 " + "aa" * 65, "not an anchor"),
        ("anchor start aa", "not a number"),
    ],
    "probe": [
        ("probe 0x1000 1 emit nosuch", "no such register"),
        ("probe 0x1000 1 emit rax+0:9", "not a capture"),
        ("probe 0x1000 1 watch 1", "no such register"),
        ("probe 0x1000 1 freed rax", "no such register"),
        ("probe 0x1000 1 allocated rax kept:nosuch", "no such register"),
        ("probe 0x1000 1 keep rsp 7", "no such register"),
    ],
    "start": [("nonsense 1", "unknown directive"), ("\x00\xff" * 3000, "is missing")],
}
MISFITS = {
    "ram": "ram 0x1000 0x8000000",
    "image": "image 0xffffffff81000000 0xffffffffffffffff 0x1000000",
    "linear": "linear 0xffff888000000000+@0x10 0",
    "watch": "watch 1 0x1234 8 0",
    "percpu_watch": "percpu_watch 3 0xfffffff000000000 1 0xffffffff82574e20",
    "kernel_root": "kernel_root 0x1234000",
    "observe": "observe 1\nresume",
    "thread": "thread multi\npages 0xffffea0000000000 0x1000",
}


def change(text: str, directive: str, line: str) -> str:
    """Put ``line`` in the place of the first line of a directive."""
    changed, n = re.subn(rf"^{directive} .*$", lambda _: line, text, count=1, flags=re.M)
    assert n
    return changed


@pytest.mark.parametrize(
    ("directive", "line", "why"), [(d, *case) for d, cases in REFUSED.items() for case in cases]
)
def test_refused_at_start(boot: Boot, good: str, directive: str, line: str, why: str) -> None:
    ended = boot(change(good, directive, line))
    assert ended.returncode == 1
    said = [text for text in ended.stderr.splitlines() if text.startswith("shootdown: ")]
    assert len(said) == 1 and why in said[0]


@pytest.mark.guest
@pytest.mark.parametrize("directive", MISFITS)
def test_found_out_when_recording_starts(boot: Boot, good: str, directive: str) -> None:
    ended = boot(change(good, directive, MISFITS[directive]))
    assert ended.returncode == 1, ended.stdout[-500:]
    assert "shootdown: the plan's memory layout does not fit this guest" in ended.stderr


@pytest.mark.guest
def test_the_plan_that_fits(boot: Boot, good: str, tmp_path: Path) -> None:
    assert boot(good).returncode == 0
    for cpu in range(2):
        assert open_file(tmp_path / f"cpu{cpu}.trace", cpu).trailer
