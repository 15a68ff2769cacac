"""pinned-wrprotect: a page that a device may write to is not shared behind its back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import ClassVar, Final

from shootdown.model import pinned
from shootdown.model.history import History
from shootdown.model.listener import HOOKS
from shootdown.model.machine import Machine
from shootdown.model.pagetables import PAGE_SHIFT, span_of
from shootdown.model.pinned import Hold, Pinned, held
from shootdown.model.stream import Event
from shootdown.rules.base import Rule
from shootdown.rules.scene import Scene
from shootdown.trace.functions import NAMES, Function
from shootdown.trace.schema import Kind, Watch
from shootdown.trace.types import Events

_FORK: Final = Function.copy_page_range
_KSM: Final = {
    *(Function.try_to_merge_one_page, Function.write_protect_page, Function.replace_page),
}
_QUESTIONS: Final = 1 << 18
"""How many are remembered."""
_COPY: Final = "a copy for the child, and the parent's entry as it was"
_BACK: Final = "the entry put back as it was"
_SEQ: Final = "write_protect_seq of the mm made odd"


class PinnedWrprotect(Rule):
    """Neither fork nor KSM makes a pinned anonymous page read-only."""

    id: ClassVar = "pinned-wrprotect"
    title: ClassVar = "Pinned pages are neither write-protected by fork nor merged by KSM"
    archs: ClassVar = ("x86_64", "arm64")
    needs: ClassVar = (Kind.PTE_WRITE, Kind.ROOT_LOAD, Kind.RET_USER, Kind.STRUCT_PAGES)
    deaf: ClassVar = HOOKS
    words: ClassVar = (Watch.MM_WRITE_PROTECT_SEQ,)
    history: ClassVar = pinned.KINDS
    text: ClassVar = """\
Whoever pins a page with FOLL_PIN writes to the frame, not to the address. If the owner's entry is
made read-only meanwhile, his next store copies the page, he goes on with the copy, and what the
device writes is lost to him. So, while a page is pinned:

* fork does not take the right to write from an entry that maps it: the child is given a copy at
  once (`folio_needs_cow_for_dma()`);
* KSM, which clears an entry, flushes it and then compares the page's count of references with what
  it can account for, puts the entry back as it was when the pin was taken before it cleared it.

And whenever fork takes the right to write away, `write_protect_seq` of the mm is odd: by that
GUP-fast, which takes no lock, notices that it has to give back what it pinned meanwhile.

A pin counts from when the page is taken, if it outlives the run of GUP that took it, until it is
given back. Needs the event groups `gup` and `functions`; without them the rule is not armed. Its
situation: fork or KSM comes to an entry that maps a pinned page.

* **WITNESS**: the store was seen. There is no **MAY**: no TLB is involved.

Not judged:

* References without FOLL_PIN, such as O_DIRECT's up to 6.1 (`iov_iter_get_pages()`): nothing keeps
  the kernel from taking such a page for one that nobody writes to. They are told of, in a note and
  in the coverage: `pinned:get write-protected`, and `pinned:get lost` when the owner went on with
  a copy before the call that took the reference had returned; asynchronous ones are not found.
* Tails of folios whose parts are mapped one by one: only of its first page is it told that a folio
  is pinned.
* Pinned pages that the owner had no right to write to: the parent's entry stays as it is."""
    reference: ClassVar = (
        "Documentation/core-api/pin_user_pages.rst; include/linux/mm.h folio_needs_cow_for_dma()",
        "mm/memory.c copy_present_ptes(), copy_page_range(); mm/huge_memory.c copy_huge_pmd()",
        "include/linux/rmap.h folio_try_dup_anon_rmap_ptes(), folio_try_share_anon_rmap_pte()",
        "mm/ksm.c write_protect_page(), replace_page()",
        "mm/gup.c gup_fast(), gup_fast_pte_range(); lib/iov_iter.c iov_iter_extract_pages()",
    )

    def __init__(self, machine: Machine, *, idle: str = "") -> None:
        super().__init__(machine, idle=idle)
        self._held = Pinned()
        self._odd: set[int] = set()
        """The mms whose write_protect_seq is odd."""
        self._cleared: dict[int, tuple[int, int]] = {}
        """By slot: the entry that KSM has cleared, and when."""
        self._lenient: dict[int, tuple[int, Hold]] = {}
        """By slot: an entry that fork has write-protected although there was a plain reference."""
        self._asked: dict[int, list[int]] = {}
        """By frame, at which stores its references were looked for when none were known."""
        self._questions = 0
        self._told: Counter[str] = Counter()
        self._by: Counter[str] = Counter()

    @classmethod
    def idle(cls, scene: Scene) -> str:
        """Without pins and operations there is nothing to judge by."""
        return super().idle(scene) or scene.lacks(
            watches=cls.words, functions=(Function.handle_mm_fault,)
        )

    def begun(self, history: History) -> None:
        """Find out what was pinned when."""
        if self.armed:
            self._held = pinned.read(history.events, self.machine.kernel)

    def stands(self, events: Events) -> bool:
        """Nothing was pinned, and no entry that fork narrowed had a plain reference then."""
        self._held = pinned.read(events, self.machine.kernel)
        return (
            not self._held.pins
            and self._questions <= _QUESTIONS
            and not any(
                hold.seq < at < hold.end
                for frame, holds in self._held.gets.items()
                for hold in holds
                for at in self._asked.get(frame, ())
            )
        )

    def coverage(self) -> dict[str, int]:
        """How many pins there were, and what became of plain references."""
        if not self.armed:
            return {}
        holds = (hold for frame in self._held.pins.values() for hold in frame)
        found = {"pinned:holds": sum(1 for _ in holds), "pinned:freed": self._held.freed}
        return found | {f"pinned:{name}": count for name, count in self._told.items()}

    def watched(self, event: Event) -> None:
        """Follow the sequence counts."""
        if event.id == Watch.MM_WRITE_PROTECT_SEQ:
            if event.c & 1:
                self._odd.add(event.d)
            else:
                self._odd.discard(event.d)

    def stored(self, root: int, event: Event) -> None:
        """Judge what fork and KSM do to an entry."""
        if not self.armed:
            return
        if event.a in self._lenient:
            self._follow(event)
        mmu, level = self.machine.mmu, event.level
        if mmu.leaf(event.b, level):
            if mmu.leaf(event.c, level):
                if self._narrowed(event.b, event) and self._inside({_FORK}, event):
                    self._forked(root, event)
            elif self._pins(event.b, event) and self._inside(_KSM, event):
                self.exercised()
                self._cleared[event.a] = event.b, event.seq
        elif mmu.leaf(event.c, level):
            if event.a in self._cleared:
                self._merged(root, event)
            elif self._held.pins and self._inside({_FORK}, event):
                self._copied(event)

    def _forked(self, root: int, event: Event) -> None:
        """Fork has taken the right to write from an entry of the parent."""
        mm = self.machine.mm(root)
        if mm not in self._odd:
            self._report(root, event, "fork", _SEQ)
        holds = self._pins(event.b, event)
        if holds:
            self.exercised()
            self._report(root, event, "fork", _COPY, holds=holds)
            return
        for hold in self._holds(self._held.gets, event.b, event)[:1]:
            self._told["get write-protected"] += 1
            self._by[NAMES.get(hold.pin.by, "GUP")] += 1
            self._lenient[event.a] = self.machine.mmu.target(event.b, event.level), hold

    def _copied(self, event: Event) -> None:
        """Fork has given the child an entry: the parent's may map a pinned page."""
        leaf = self.machine.space.walk(self.machine.tlb.root(event.cpu), event.d)
        if leaf is None or leaf.slot == event.a or leaf.level != event.level:
            return
        writable = "write" in self.machine.mmu.permits(leaf.entry, leaf.level)
        if writable and self._pins(leaf.entry, event):
            self.exercised()

    def _merged(self, root: int, event: Event) -> None:
        """KSM has cleared an entry of a pinned page, and writes it anew."""
        before, seq = self._cleared.pop(event.a)
        holds = self._pins(before, event, seq)
        mmu, level = self.machine.mmu, event.level
        moved = mmu.target(before, level) != mmu.target(event.c, level)
        if holds and (moved or self._narrowed(before, event)):
            self._report(root, event, "KSM", _BACK, holds=holds, before=before)

    def _follow(self, event: Event) -> None:
        """The owner's next entry for a page that somebody only has a reference of."""
        target, hold = self._lenient[event.a]
        mmu = self.machine.mmu
        if mmu.leaf(event.c, event.level) and mmu.target(event.c, event.level) != target:
            self._told["get lost"] += event.seq < hold.end
            del self._lenient[event.a]

    def _narrowed(self, before: int, event: Event) -> bool:
        """Whether the store leaves the same page, but not the right to write to it."""
        mmu, level = self.machine.mmu, event.level
        return (
            mmu.target(before, level) == mmu.target(event.c, level)
            and "write" in mmu.permits(before, level)
            and "write" not in mmu.permits(event.c, level)
        )

    def _inside(self, functions: AbstractSet[int], event: Event) -> bool:
        return self.machine.calls.inside(event.cpu, functions)

    def _pins(self, entry: int, event: Event, before: int = 0) -> list[Hold]:
        return self._holds(self._held.pins, entry, event, before)

    def _holds(
        self, holds: dict[int, list[Hold]], entry: int, event: Event, before: int = 0
    ) -> list[Hold]:
        """Of the frames that ``entry`` maps, those that began before a number, or the store."""
        if not holds and holds is self._held.pins:
            return []
        first = self.machine.mmu.target(entry, event.level) >> PAGE_SHIFT
        frames = span_of(event.level) >> PAGE_SHIFT
        if not holds:
            self._ask(first, frames, event.seq)
            return []
        return held(holds, first, frames, before or event.seq, event.seq)

    def _ask(self, first: int, frames: int, at: int) -> None:
        """Remember a question that was answered without knowing."""
        self._questions += frames
        if self._questions <= _QUESTIONS:
            for frame in range(first, first + frames):
                self._asked.setdefault(frame, []).append(at)

    def _report(
        self,
        root: int,
        event: Event,
        operation: str,
        missing: str,
        *,
        holds: Sequence[Hold] = (),
        before: int = 0,
    ) -> None:
        pa = self.machine.mmu.target(before or event.b, event.level)
        who = sorted({NAMES.get(hold.pin.by, "GUP") for hold in holds})
        why = f"although {', '.join(who)}() had pinned it" if holds else "unseen by GUP-fast"
        self.found_at(
            event,
            operation=operation,
            mm=self.machine.mm(root),
            seq={*(hold.seq for hold in holds), event.seq},
            summary=(
                f"CPU {event.cpu} made the page at PA {pa:#x} read-only at VA {event.d:#x} in "
                f"{operation}, {why}"
            ),
            missing=missing,
            before=before or event.b,
            after=event.c,
            kind="witness",
            details={"pa": pa, "pins": [_detail(hold) for hold in holds]} if holds else None,
            mark=missing,
        )

    def _note(self) -> str:
        """Plain references are told of."""
        if not self._by:
            return ""
        who = ", ".join(f"{name} {count}" for name, count in sorted(self._by.items()))
        return (
            f"{self._told['get write-protected']} pages with a reference for writing but no "
            f"FOLL_PIN were write-protected by fork, and {self._told['get lost']} of them copied "
            f"by the owner meanwhile, so that what was written is lost; taken by {who}"
        )


def _detail(hold: Hold) -> dict[str, object]:
    pin = hold.pin
    by = NAMES.get(pin.by, "")
    return {"seq": pin.seq, "by": by, "task": pin.task, "refs": pin.refs, "class": "pin"}
