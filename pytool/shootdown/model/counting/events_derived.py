"""What the kernel's source says each phase of ``counting_events`` does, as ``events`` counts it.

Where kernels differ goes by what they have: the form of per-VMA locks, and functions. Private
writable pages are mapped copy-on-write, so ``mprotect`` to read-only leaves ``vm_page_prot`` as it
is (``protection_map``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from shootdown.model.known import Known
from shootdown.trace.functions import Function
from shootdown.trace.schema import Watch

_RWSEM: Final = "vm_area_struct.vm_lock"
_REFCNT: Final = "vm_area_struct.vm_refcnt"
_HANDLERS: Final = ("exc_page_fault", "do_user_addr_fault", "do_mem_abort", "do_page_fault")
_VMA_WORDS: Final = {
    Watch.VMA_START: "vm_area_struct.vm_start",
    Watch.VMA_END: "vm_area_struct.vm_end",
    Watch.VMA_MM: "vm_area_struct.vm_mm",
    Watch.VMA_FLAGS: "vm_area_struct.vm_flags",
    Watch.VMA_PAGE_PROT: "vm_area_struct.vm_page_prot",
    Watch.VMA_DETACHED: "vm_area_struct.detached",
    Watch.VMA_REFCNT: _REFCNT,
    Watch.VMA_LOCK: _RWSEM,
    Watch.VMA_LOCK_SEQ: "vm_area_struct.vm_lock_seq",
}
_MM_WORDS: Final = (
    *(Watch.MMAP_LOCK, Watch.MM_PGD, Watch.MM_TREE, Watch.MM_LOCK_SEQ),
    Watch.MM_WRITE_PROTECT_SEQ,
)


@dataclass(frozen=True)
class Situation:
    """What the derivation cannot know from the source."""

    vmas: int
    """VMAs of the process when it forks."""
    soft_dirty: bool
    """Whether a new mapping gets VM_SOFTDIRTY: the workload looks into /proc/self/smaps."""
    cleared: int
    """VMAs of a fork whose copy ``untrack_pfn_clear`` locks to take a flag off: those with
    VM_PFNMAP, in kernels that have it (arch/x86/mm/pat)."""


class Derivation:
    """The counts of every phase, for one kernel. Only kernels with per-VMA locks are known here."""

    def __init__(self, known: Known, situation: Situation) -> None:
        self._known = known
        self._situation = situation
        self._refcnt: Final = self._has(_REFCNT)

    def _has(self, name: str) -> bool:
        return name not in self._known.absent

    def phase(self, name: str) -> Counter[str]:
        """The counts of a phase that has no strays. Raises KeyError for an unknown name."""
        found: Counter[str] = Counter()
        for part in self._parts(name):
            found += part
        return found

    def _parts(self, name: str) -> Iterable[Counter[str]]:
        phases: dict[str, Callable[[], Iterable[Counter[str]]]] = {
            # mmap_region(): the new VMA is set up, then stored into the tree.
            "vma_map": lambda: (
                self._born("alloc"),
                _vma(start=1, end=1, flags=1 + self._situation.soft_dirty, page_prot=1),
                self._write(fresh=1),
            ),
            # vma_expand(): the neighbour below grows.
            "vma_expand": lambda: (_vma(end=1), self._write(attached=1)),
            # __split_vma(): the copy is the part above; mprotect_fixup() then sets the flags.
            "vma_split": lambda: (
                self._born("dup"),
                _vma(start=1, end=1, flags=1),
                self._write(attached=1, fresh=1),
            ),
            # vma_merge: the part above grows downwards over the one below, which goes.
            "vma_join": lambda: (_vma(start=1), self._dead(), self._write(attached=2)),
            # Two splits; the piece between them is detached.
            "vma_hole": lambda: (
                self._born("dup", 2),
                _vma(start=2, end=2),
                self._dead(),
                self._write(attached=1, fresh=2),
            ),
            # copy_vma(), then the old one without VM_ACCOUNT is unmapped.
            "vma_move": lambda: (
                self._born("dup"),
                _vma(start=1, end=1, flags=1),
                self._dead(),
                self._write(attached=1, fresh=1),
            ),
            "vma_unmap": lambda: (self._dead(), self._write(attached=1)),
            "vma_clear": lambda: (self._dead(), self._write(attached=1)),
            "vma_fork": self._fork,
            "fault_write": lambda: (self._faults(16, "write user"),),
            "fault_read": lambda: (self._faults(8, "read user"),),
            "fault_cow": lambda: (self._faults(8, "write user"),),
            # fault_dirty_shared_page() gives the lock back before it throttles the writer.
            "fault_shared": lambda: (self._faults(4, "write user", "LOCKED|COMPLETED"),),
            # Only faults of user mode try the lock of the VMA.
            "fault_kernel": lambda: (self._kernel_faults(4),),
            "fault_refused": lambda: (self._refused(),),
        }
        return phases[name]() if name in phases else (self._gup(name),)

    # VMAs and their locks.

    def _born(self, how: str, times: int = 1) -> Counter[str]:
        found = _calls(f"vm_area_{how}", times=times) + Counter({f"vma {how}": times})
        for watch, member in _VMA_WORDS.items():
            found[f"WATCH_INIT {watch.name}"] += times * self._has(member)
        if self._refcnt:  # vma_mark_attached(); before, it is born attached
            found += Counter({"vma attach": times, "lock attach": times})
        return found

    def _dead(self) -> Counter[str]:
        return _calls("vm_area_free") + Counter({"vma free": 1, "vma detach": 1, "lock detach": 1})

    def _write(self, attached: int = 0, fresh: int = 0, sections: int = 1) -> Counter[str]:
        """Sections in which mmap_lock is held to write, and VMAs that are locked to write there.

        ``fresh`` are those that are not attached yet: nobody can read them.
        """
        locked = attached + fresh
        found = Counter({"lock mm_seq": 2 * sections, "lock write_lock": locked})
        if self._refcnt:
            found += _calls("__vma_start_write", "__vma_start_exclude_readers", times=locked)
            found += Counter({"lock exclude": attached, "lock include": attached})
        else:
            found += Counter({"lock write_acquire": locked, "lock write_release": locked})
        return found

    def _fork(self) -> tuple[Counter[str], ...]:
        """dup_mmap(): both mmap_locks, each VMA locked, and its copy by ``vm_flags_clear()``."""
        vmas, cleared = self._situation.vmas, self._situation.cleared
        return (
            self._born("dup", vmas),
            _vma(mm=vmas),
            self._write(attached=vmas, fresh=vmas + cleared, sections=2),
            Counter(f"WATCH_INIT {watch.name}" for watch in _MM_WORDS),
        )

    # Faults.

    def _handled(self, times: int, *functions: str) -> Counter[str]:
        return _calls(*filter(self._has, _HANDLERS), *functions, times=times)

    def _faults(self, times: int, access: str, result: str = "0") -> Counter[str]:
        return self._handled(times, "lock_vma_under_rcu", "handle_mm_fault") + Counter(
            {
                f"fault {access} vma": times,
                f"attempt fault {result}": times,
                "lock read_acquire": times,
                "lock read_release": times,
            }
        )

    def _kernel_faults(self, times: int) -> Counter[str]:
        return self._handled(times, "lock_mm_and_find_vma", "handle_mm_fault") + Counter(
            {"fault write kernel mmap": times, "attempt fault 0": times}
        )

    def _refused(self) -> Counter[str]:
        return self._handled(1, "lock_vma_under_rcu", "lock_mm_and_find_vma") + Counter(
            {"fault read user vma- mmap-": 1}
        )

    # GUP.

    def _gup(self, name: str) -> Counter[str]:
        slow = ("__gup_longterm_locked", "__get_user_pages")
        match name:
            # process_vm_rw_single_vec() of mm/process_vm_access.c
            case "gup_remote":
                found = _calls("pin_user_pages_remote", *slow) + _gup("slow", 4, pin=4, unpin=4)
                found += _calls("unpin_user_pages_dirty_lock", "unpin_user_pages")
                return found + _calls("try_grab_folio", times=4)
            case "gup_absent":
                found = _calls("pin_user_pages_remote", *slow) + _gup("slow", 2, pin=2, unpin=2)
                found += _calls("unpin_user_pages_dirty_lock") + Counter({"attempt gup 0": 2})
                return found + _calls("try_grab_folio", "handle_mm_fault", times=2)
            # iter_to_pipe() of fs/splice.c
            case "gup_splice":
                found = _calls("get_user_pages_fast", "gup_fast_fallback") + _gup("fast", 4, get=4)
                return found + _calls("try_grab_folio_fast", times=4)
            # mem_rw() of fs/proc/base.c, page by page
            case "gup_peek":
                found = _calls("get_user_pages_remote", "__get_user_pages", times=3)
                found += _calls("try_grab_folio", times=3)
                return found + Counter({"gup slow": 3, "gup slow pages": 3, "pin get": 3})
            # io_pin_pages() of io_uring/memmap.c
            case "gup_fix":
                found = _calls("pin_user_pages_fast", "gup_fast_fallback") + _gup("fast", 8, pin=8)
                return found + _calls("try_grab_folio_fast", times=8)
            case "gup_unfix":
                return _calls("unpin_user_folio", times=8) + Counter({"pin unpin": 8})
        raise KeyError(name)


def _calls(*functions: str, times: int = 1) -> Counter[str]:
    for function in functions:
        assert function in Function.__members__, function
    return Counter(
        {f"{kind} {function}": times for function in functions for kind in ("ENTER", "EXIT")}
    )


def _vma(**steps: int) -> Counter[str]:
    return Counter({f"vma {step}": times for step, times in steps.items()})


def _gup(how: str, pages: int, **events: int) -> Counter[str]:
    found = Counter({f"gup {how}": 1, f"gup {how} pages": pages})
    return found + Counter({f"pin {event}": times for event, times in events.items()})
