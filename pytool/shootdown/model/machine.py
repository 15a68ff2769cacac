"""The guest as the trace tells of it, and the hooks that rules and measurements hang on.

``Machine.run`` feeds every event to the parts of the model (page tables, TLBs, tasks) and tells its
listeners what it meant. Rules and measurements never look at raw events' effects themselves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final

from shootdown import arch as arches
from shootdown.arch.mmu import Mmu
from shootdown.model import stream
from shootdown.model.callstack import stack_log2
from shootdown.model.entries import Reason, Stale, Superseded
from shootdown.model.known import Known
from shootdown.model.listener import Listener
from shootdown.model.pagetables import observed_pages, span_of
from shootdown.model.phases import Phases
from shootdown.model.space import Leaf, Space
from shootdown.model.speaker import Speaker
from shootdown.model.stacks import ThinStacks
from shootdown.model.stream import Event
from shootdown.model.tasks import Tasks
from shootdown.model.thin import Thin
from shootdown.model.tlb import Records, Tlb
from shootdown.model.tlb_arm64 import Arm64Tlb
from shootdown.model.tlb_x86 import X86Tlb
from shootdown.trace.schema import Kind, Probe, Watch
from shootdown.trace.types import Events

# Members of an Enum are slow to reach (Python before 3.12), and these are asked for at every event.
_FAULT: Final = int(Probe.FAULT)
_SWITCH: Final = int(Probe.TASK_SWITCH)
_SYSCALL: Final = int(Probe.SYSCALL)
_PGD: Final = int(Watch.MM_PGD)

_STATES: Final = frozenset(
    map(int, (Kind.ROOT_LOAD, Kind.WATCH, Kind.WATCH_INIT, Kind.PROBE, Kind.RET_USER))
)
"""Kinds of events by which a CPU may come to use, or not to use, an address space."""

TLBS: Final[dict[str, Callable[[Records], Tlb]]] = {"x86_64": X86Tlb, "arm64": Arm64Tlb}


class Machine(Speaker):
    """The whole model. Raises UsageError for an unknown architecture."""

    def __init__(self, arch: str, listeners: Iterable[Listener] = ()) -> None:
        super().__init__(listeners)
        self.arch = arches.get(arch)
        self.mmu: Mmu = self.arch.mmu
        """That of ``arch``, at hand; it is asked many times for every store."""
        self.space: Final = Space(self.mmu)
        self.records: Final = Records()
        self.tlb: Final[Tlb] = TLBS[self.arch.name](self.records)
        self.tasks: Final = Tasks(self.arch.kernel.syscalls)
        self.flushes: Final[Counter[int]] = Counter()
        """Invalidations by FlushOp."""
        self.pages: list[int] = []
        """Numbers of the pages (VA >> 12) that ``run``'s trace has user accesses for, ascending."""
        self.calls: Final = ThinStacks()
        """Which mm functions each CPU is inside of, where the trace says (Kind.ENTER)."""
        self.kernel = Known()
        """What captured words mean, where the recording says."""
        self.sequel = stream.Sequel(stream.whole(stream.NONE))
        """Looks ahead in the events."""
        self._event: Event | None = None
        self._thin: Thin | None = None
        self.phases: Final = Phases()
        self._mm_of: dict[int, int] = {}
        self._linear = 0
        self._since: dict[int, int] = {}
        self._usable: dict[tuple[int, int], tuple[bool, int]] = {}
        """By CPU and tag what ``can_use`` has said, and the number up to which it holds (exclusive)
        unless an event of a CPU's state comes between (``_STATES``)."""
        self._selection = stream.Selection(())
        self._loud: frozenset[int] = frozenset()
        self._watching: dict[int, list[Callable[[Event], None]]] = {}
        self._handlers: dict[int, Callable[[Event], None]] = {
            Kind.ARMED: self._armed,
            Kind.ROOT_LEARN: self.space.apply,
            Kind.ROOT_FORGET: self._root_forget,
            Kind.TABLE_LINK: self._table_link,
            Kind.TABLE_SLOT: self.space.store,
            Kind.TABLE_UNLINK: self.space.apply,
            Kind.PTE_WRITE: self._pte_write,
            Kind.FLUSH: self._flush,
            Kind.BARRIER: self._barrier,
            Kind.ROOT_LOAD: self._root_load,
            Kind.WATCH: self._watch,
            Kind.WATCH_INIT: self._watch,
            Kind.PROBE: self._probe,
            Kind.PROBE_MORE: self._probe_more,
            Kind.ENTER: self._enter,
            Kind.EXIT: self._leave,
            Kind.RET_USER: self._return,
            Kind.MARK: self._mark,
            Kind.PAGE_FREED: self._freed,
            Kind.OBS: self._observe,
        }

    def run(self, events: Events) -> None:
        """Feed a whole trace, in the order of ``seq``."""
        self.begin(observed_pages(events), stack_log2(events))
        self.tell_begun(events)
        self.feed(stream.whole(events))

    def begin(self, pages: list[int], stack_log2: int, *, thin: bool = False) -> None:
        """Get ready for a trace, when all listeners are there.

        ``pages`` as the attribute, ``stack_log2`` the binary logarithm of a kernel stack's bytes;
        ``thin``: whether to leave out what provably changes nothing (``model.thin``).
        """
        self._hook()
        functions = self.functions
        self._thin = Thin(self.arch, stack_log2, functions) if thin else None
        watching = self._hearing("watched")
        words = {*stream.WORDS, *(word for x in watching for word in x.words)}
        self._watching = {
            int(word): [x.watched for x in watching if word in (*x.words, *stream.WORDS)]
            for word in words
        }
        self._selection = stream.Selection(self._handlers, words, self._thin)
        self._heeding_access = [x.heeds_access for x in self._hearing("observed")]
        self._heeding_fault = [x.heeds_fault for x in self._hearing("faulted")]
        self._loud = functions
        self.pages = pages
        self.calls.stack_bytes = 1 << stack_log2

    def tell_begun(self, events: Events) -> None:
        """Tell listeners of all the events to come; after ``begin``."""
        super().tell_begun(events)
        if self._thin:
            self._thin.demand(self.demanded)

    def feed(self, window: stream.Window) -> None:
        """Take in the next piece of the trace."""
        self.sequel = stream.Sequel(window)
        self._usable.clear()
        states, usable = _STATES, self._usable
        self.calls.begin(window)
        self.tasks.count(window.columns.values())
        handlers = self._handlers
        thin, calls = self._thin is not None, self.calls
        for event in self._selection.events(window, self._heeds if thin else None):
            self._event = event
            if thin:
                calls.now = event
            kind = event.kind
            if kind in states:
                usable.clear()
            handlers[kind](event)

    def _heeds(self, is_access: bool, page: int) -> bool:
        """Whether an access (OBS) to a page, else a fault there, can change anything now.

        Proof: such an event changes nothing in the model itself but what ``Tlb.fault`` does, and
        listeners do nothing with it unless they heed it. Its number still counts as predecessor.
        """
        if not is_access and self.tlb.heeds_fault():
            return True
        for heeds in self._heeding_access if is_access else self._heeding_fault:
            if heeds(page):
                return True
        return False

    def can_use(self, cpu: int, tag: int) -> bool:
        """Whether user code could make the CPU use an entry of the tag as things are.

        Not so while it borrows the address space lazily (E3), is inside switch_mm (E4), or has
        another one loaded (E5).
        """
        seq = self._event.seq if self._event else 0
        known, until = self._usable.get((cpu, tag), (False, 0))
        if seq < until:
            return known
        # A store is numbered after it is visible: a CPU whose next record says that it is lazy may
        # have been so, for everybody to see, ever since its record before.
        lazy, until = self.sequel.turns_lazy(cpu, seq)
        state = self.tasks.cpu(cpu)
        found = not (lazy or state.lazy or state.switching) and self.tlb.loaded(cpu, tag)
        self._usable[cpu, tag] = found, until
        return found

    def mm(self, root: int) -> int:
        """VA of the mm_struct that owns the root table; the root's PA when that is not known."""
        return self._mm_of.get(root, root)

    def covers(self, old: int, new: int, level: int) -> bool:
        """Whether a copy of the leaf ``old`` can do nothing that the leaf ``new`` does not allow.

        Nor is it of another memory type or protection key. So it is with upgrades in place (E1) and
        changes of accessed, dirty and software bits (E2).
        """
        mmu = self.mmu
        return (
            mmu.leaf(new, level)
            and mmu.target(old, level) == mmu.target(new, level)
            and mmu.same_attributes(old, new, level)
            and mmu.permits(old, level) <= mmu.permits(new, level)
        )

    # Page tables.

    def _table_link(self, event: Event) -> None:
        self.space.apply(event)
        self._tell("linked", event.b, event)

    def _root_forget(self, event: Event) -> None:
        # E7: nobody can run there any more. arm64 leaves its leaf entries to the ASID rollover.
        self.space.apply(event)
        self.records.forget(event.b)
        self.tlb.forget(event.b)
        self._mm_of.pop(event.b, None)
        self._tell("forgotten", event.b)

    def _pte_write(self, event: Event) -> None:
        root = self.space.root_of(event.a)
        if root:
            for hear in self._hooks["stored"]:
                hear(root, event)
            if event.b:
                self._take_away(root, event)
        self.space.store(event)
        mmu, new, level = self.mmu, event.c, event.level
        if not new or not mmu.valid(new, level):
            return
        self._since[event.a] = event.seq
        if root and mmu.leaf(new, level):
            self._install(root, Leaf(event.a, event.d, level, new), event)

    def _take_away(self, root: int, event: Event) -> None:
        mmu, old, new, level = self.mmu, event.b, event.c, event.level
        leaf = Leaf(event.a, event.d, level, old)
        if mmu.leaf(old, level):
            if not new:
                self._supersede(root, leaf, "unmapped", event)
            elif not self.covers(old, new, level):
                self._supersede(root, leaf, self._reason(leaf, new), event)
        elif mmu.table(old, level):
            if mmu.table(new, level) and mmu.target(new, level) == mmu.target(old, level):
                return
            below = list(self.space.leaves(old, level))
            self._supersede(root, leaf, "table", event)
            for hanging in below:
                self._supersede(root, hanging, "table", event)

    def _reason(self, old: Leaf, new: int) -> Reason:
        mmu = self.mmu
        if not mmu.leaf(new, old.level):
            return "replaced" if mmu.table(new, old.level) else "unmapped"
        same = mmu.target(old.entry, old.level) == mmu.target(new, old.level)
        return "permission" if same else "replaced"

    def _supersede(self, root: int, old: Leaf, reason: Reason, event: Event) -> None:
        mmu, task = self.mmu, self.tasks.cpu(event.cpu).task
        va, level, entry = old.va, old.level, old.entry
        holders = self.tlb.holders(root, self._since.get(old.slot, 0))
        # By position, which is quicker: there is none of which more are made.
        what = Superseded(
            root,
            va,
            va + span_of(level),
            level,
            mmu.table(entry, level),
            entry,
            event.c if old.slot == event.a else 0,
            mmu.target(entry, level),
            reason,
            event.seq,
            event.icount,
            event.pc,
            event.cpu,
            str(task),
            task.call,
            tuple([cpu for cpu, _ in holders]),
            self.calls.of(event.cpu),
        )
        stales = [Stale(cpu, tag, what) for cpu, tag in holders]
        for stale in stales:
            self.records.add(stale)
        if task.call is not None:
            task.call.took.append(what)
        for hear in self._hooks["superseded"]:
            hear(what, stales)

    def _install(self, root: int, leaf: Leaf, event: Event) -> None:
        # E15, M6: what was cleared and comes back was never gone; when narrower, it was narrowed.
        if self.records.any(root):
            self._bring_back(root, leaf, event)
        for hear in self._hooks["installed"]:
            hear(root, leaf, event)

    def _bring_back(self, root: int, leaf: Leaf, event: Event) -> None:
        mmu, back = self.mmu, dict[Superseded, list[Stale]]()
        for stale in self.records.overlapping(root, leaf.va, leaf.va + span_of(leaf.level)):
            what = stale.what
            if what.is_table or (what.va, what.level) != (leaf.va, leaf.level):
                continue
            if mmu.needs_break(what.old, what.level, leaf.entry, leaf.level, self.kernel.bbm):
                continue  # not the same after all: the old entry must not meet the new one
            if self.covers(what.old, leaf.entry, leaf.level):
                back.setdefault(what, []).append(stale)
            elif what.target == mmu.target(leaf.entry, leaf.level):
                what.reason, what.new = "permission", leaf.entry
        for what, stales in back.items():
            what.restored = True
            self.records.drop(stales)
            self._tell("restored", what, stales, event)

    # CPUs.

    def _ended(self, stales: Sequence[Stale], event: Event) -> None:
        if stales:
            for hear in self._hooks["ended"]:
                hear(stales, event)

    def _flush(self, event: Event) -> None:
        self.flushes[event.id] += 1
        self._ended(self.tlb.flush(event), event)

    def _barrier(self, event: Event) -> None:
        self._ended(self.tlb.barrier(event), event)

    def _root_load(self, event: Event) -> None:
        self.tasks.root_load(event)
        self._ended(self.tlb.root_load(event), event)
        self._tell("root_loaded", event)

    def _probe(self, event: Event) -> None:
        if event.id == _FAULT:
            self._tell("faulted", event)
            self._ended(self.tlb.fault(event), event)
        else:
            self.tasks.probe(event, self.tlb.root(event.cpu))

    def _probe_more(self, event: Event) -> None:
        self.tasks.probe_more(event)
        if event.id == _SWITCH:
            self.calls.switch(event.cpu, event.c)
        call = self.tasks.cpu(event.cpu).task.call
        if event.id == _SYSCALL and call is not None:
            self._tell("entered", call, event)

    def _enter(self, event: Event) -> None:
        self.calls.enter(event.cpu, event.id, event.a)
        if event.id in self._loud:
            self._tell("called", event)

    def _leave(self, event: Event) -> None:
        if event.id in self._loud:
            self._tell("left", event)
        self.calls.leave(event.cpu, event.id, event.a)

    def _return(self, event: Event) -> None:
        self.calls.to_user(event.cpu)
        call = self.tasks.return_to_user(event)
        if call is not None:
            self._tell("returned", call, event)
            call.took.clear()
        self._tell("user", event)

    def _watch(self, event: Event) -> None:
        if event.id == _PGD and event.c:
            self._owned(event)
        else:
            self.tasks.watch(event)
        for hear in self._watching.get(event.id, ()):
            hear(event)

    def _owned(self, event: Event) -> None:
        # What a fork's new mm_struct has there first is copied: the parent's (dup_mm()).
        root = event.c - self._linear & (1 << 64) - 1
        if event.kind == Kind.WATCH or root not in self._mm_of:
            self._mm_of[root] = event.d

    def _armed(self, event: Event) -> None:
        self._linear = event.a - event.b
        self.mmu = self.mmu.for_levels(event.d)
        self.arch = replace(self.arch, mmu=self.mmu)
        self.space.reads_by(self.mmu)

    def _mark(self, event: Event) -> None:
        self.tasks.mark(event)
        self.phases.mark(event)

    def _freed(self, event: Event) -> None:
        self._tell("freed", event)

    def _observe(self, event: Event) -> None:
        self._tell("observed", event)
