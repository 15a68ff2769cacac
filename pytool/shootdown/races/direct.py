"""Direct IO against fork, and against the page cache: the race of 2008.

"fork has the very same problem": it marks an entry read-only whose page IO has looked up; the
parent's next store copies the page, and IO goes on with the one that is the child's now. Since
then FOLL_PIN: `copy_present_ptes` (mm/memory.c) copies a page for the child that may be pinned
(`folio_needs_cow_for_dma`), `gup_fast` looks whether a fork has begun meanwhile
(`mm->write_protect_seq`). O_DIRECT pins since 6.6 (lib/iov_iter.c,
`iov_iter_extract_pages`); before it only referenced (`iov_iter_get_pages2`, FOLL_GET), and loses
what it reads: see docs/findings.md.

Every race compares the data: workload `direct` counts as `lost` what is not where it must be.
"""

from __future__ import annotations

from shootdown.race import Script, race
from shootdown.race.places import GUP, LONG, SUBMIT

READ, WRITE, FIXED_READ, FIXED_WRITE, UNDER_MAPPING, UNSHARE = range(6)
DISK = 16
QUEUED = "nvme_queue_rq|nvme_queue_rqs"
"""The request goes to the disk; the next thing is its doorbell."""


def _options(op: int) -> str:
    return f"op={op},patience=5000000"


def _fork_during_io(r: Script) -> None:
    # On x86-64 fork waits for the CPU that is held to flush; it gets its chance between the
    # holds. And so does the store that copies the page, after the second one: the child
    # ends when it has waited for that store as long as it could.
    with r.hold(at=r.thread("io").enters(SUBMIT), bound_ms=LONG):
        r.run_until(r.thread("mapper").flush(within="fork"))
    with r.hold(at=r.thread("io").enters(QUEUED), bound_ms=LONG):
        r.run_until(r.thread("mapper").enters("exit_group"))  # the child


@race(workload="direct", smp=4, options=_options(READ), disk=DISK)
def fork_during_read(r: Script) -> None:
    """fork, and a store to the page, while a direct read has looked its page up.

    With FOLL_GET the data of the read is lost: the disk writes to the child's page.
    """
    _fork_during_io(r)


@race(workload="direct", smp=4, options=_options(WRITE), disk=DISK)
def fork_during_write(r: Script) -> None:
    """fork, and a store to the page, while a direct write has looked its page up."""
    _fork_during_io(r)


@race(workload="direct", smp=4, options=_options(FIXED_READ), disk=DISK)
def fork_during_pin_to_read(r: Script) -> None:
    """io_uring pins a fixed buffer right behind a fork; a read into it must reach the parent."""
    with r.hold(at=r.thread("io").enters(GUP), bound_ms=LONG):
        r.run_until(r.thread("mapper").flush(within="fork"))


@race(workload="direct", smp=4, options=_options(FIXED_WRITE), disk=DISK)
def fork_before_fixed_write(r: Script) -> None:
    """fork and a store with a buffer pinned; a write from it must be what the parent has stored."""
    with r.hold(at=r.thread("io").enters(SUBMIT), bound_ms=LONG):
        r.run_until(r.thread("writer").store("window"))


@race(workload="direct", smp=4, options=_options(UNDER_MAPPING), disk=DISK, repeat=3)
def fault_under_direct_write(r: Script) -> None:
    """A fault brings a page back into the page cache before a direct write has changed the disk.

    The cache is invalidated before (`kiocb_invalidate_pages`), and must be again after
    (`kiocb_invalidate_post_direct_write`): else the mapping shows the old bytes for ever.
    """
    with r.hold(at=r.thread("io").enters(SUBMIT)):  # the writer may have read enough: next time
        r.run_until(r.thread("writer").load("window", nth=3))


@race(workload="direct", smp=4, options=_options(UNSHARE), disk=DISK)
def store_during_unshare(r: Script) -> None:
    """A sibling's store copies the page that direct IO is about to unshare (FAULT_FLAG_UNSHARE).

    Whoever comes second must find the other's page: a pinned page that is not the one mapped
    would be written from, or read into, in vain.
    """
    with r.hold(at=r.thread("io").enters(GUP), bound_ms=LONG):
        r.pause(20)
