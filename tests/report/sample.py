"""A result with something in every field."""

from __future__ import annotations

from dataclasses import replace

from shootdown.report.result import (
    Audit,
    Guest,
    Kernel,
    Result,
    Rule,
    Violation,
    Windows,
    Workload,
)

STALE = Rule(armed=True, exercised=120, violations=0, may=0, witness=0)
ALIASED = Rule(False, 120, 0, 0, 0, note="policy wilcox tolerates aliases; windows are measured")
UNSEEN = Rule(armed=True, exercised=0, violations=0, may=0, witness=0)

VIOLATION = Violation(
    rule="stale-after-return",
    kind="witness",
    arch="x86_64",
    mm=0xFFFF888003A4C000,
    va=0x7F0000001000,
    cpus=[1, 2],
    site="munmap",
    summary="CPU 1 still used the old translation after munmap had returned",
    fingerprint="0123456789abcdef",
    seq=list(range(100, 120)),
    pc="unmap_page_range+0x5b8",
    operation="munmap",
    task="map_fixed[77] mapper",
    cpu=0,
    holders=[
        {"cpu": 1, "task": "observer0/78", "stack": []},
        {"cpu": 2, "task": "observer1/79", "stack": ["do_madvise", "zap_page_range_single"]},
    ],
    workload="map_fixed",
    level=1,
    before=0x8000000012345867,
    after=0,
    before_text="0x8000000012345867: 4 KiB page at PA 0x12345000, user, writable, dirty",
    after_text="none",
    came=[
        {
            "seq": 104,
            "cpu": 0,
            "operation": "INVLPG",
            "start": "0x7f0000001000",
            "end": "0x7f0000002000",
            "asid": 0,
            "local": True,
            "dsb_before": 0,
            "dsb_after": 0,
        },
        {
            "seq": 107,
            "cpu": 3,
            "operation": "TLBI_RANGE",
            "start": "0x7f0000000000",
            "end": "0x7f0000004000",
            "asid": 5,
            "local": False,
            "dsb_before": 106,
            "dsb_after": 0,
        },
        {
            "seq": 108,
            "cpu": 1,
            "operation": "CR3_LOAD",
            "start": "0x0",
            "end": "0x0",
            "asid": 0,
            "local": True,
            "dsb_before": 0,
            "dsb_after": 0,
        },
    ],
    came_others=4,
    missing="a TLB invalidation of 0x7f0000001000 on CPU 1 between events 101 and 119",
    count=3,
    details={"access_pc": "0x401234", "pa": "0x12345010"},
    locks=[
        {
            "lock": "mmap_lock",
            "how": "write",
            "of": "0xffff888004062c00",
            "task": "mapper/142",
            "cpu": 0,
            "since": 99,
        }
    ],
)

PASSED = Result(
    exit_code=0,
    arch="x86_64",
    kernel=Kernel("6.12.95+deb12-cloud-amd64", "ab" * 20, "debian:6.12"),
    qemu="QEMU emulator version 10.0.2",
    seed=7,
    reasons=["120 situations checked, no violation"],
    workloads=[
        Workload("map_fixed", "pass", 3.25, rules={"stale-after-return": STALE}),
        Workload("counting", "pass", 0.5, rules={"stale-after-return": UNSEEN}),
    ],
    rules={"stale-after-return": STALE, "aliased-translation": ALIASED},
    events={"PTE_WRITE": 12345, "FLUSH": 678},
    audit=Audit(600, 307200, 0, nonzero=22000, done=True),
    timing={"boot_s": 6.5, "record_s": 9.25, "check_s": 4.0},
    windows=[
        Windows(
            "mmap(MAP_FIXED)",
            replacements=2000,
            count=1900,
            p50=410,
            p99=2207,
            max=90210,
            closed=1900,
            outlived=0,
            reused=0,
            observers={
                "observer1": {"old": 311, "new": 9000, "fault": 12},
                "observer2": {"old": 7, "new": 8000, "zero": 3},
            },
        ),
        Windows("munmap", 10, 4, 1, 2, 3, 4, 0, 0),
    ],
    coverage={"FLUSH INVLPG": 600},
    reproduce="shootdown run --arch x86_64 --seed 7",
    tool="shootdown 0.1.0",
)

FAILED = replace(
    PASSED,
    exit_code=1,
    reasons=["1 violation"],
    rules={"stale-after-return": Rule(True, 120, 1, 0, 1)},
    violations=[VIOLATION],
    workloads=[
        Workload("map_fixed", "pass", 3.25, rules={"stale-after-return": Rule(True, 9, 1, 0, 1)})
    ],
)

CRASHED = replace(
    PASSED,
    exit_code=5,
    reasons=["the guest panicked"],
    guest=Guest("crash", "the guest panicked", "BUG: #1 bad\nKernel panic - not syncing: x # y"),
    audit=Audit(),
    workloads=[Workload("map_fixed", "crash", 1.0, "the guest panicked")],
)
