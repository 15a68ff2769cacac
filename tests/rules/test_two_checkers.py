"""The fast checker and the reference must say the same, of anything and in pieces of any size."""

import dataclasses
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from hypothesis.strategies import booleans, data, integers, sampled_from

from shootdown.rules.check import POLICIES, CheckReport, check
from shootdown.rules.feed import REFERENCE, How
from shootdown.trace.text import parse
from tests.rules.corpus import CORPUS, Case, TextTrace, cases
from tests.rules.strange import TRACES

SIZES = (2, 7, 64, 1 << 18)


def same(trace, policy: str, sizes: tuple[int, ...] = SIZES) -> CheckReport:
    """The reference's report, after every other way has given the same."""
    report = check(trace, policy, how=REFERENCE)
    for size in sizes:
        fast = check(trace, policy, how=How(fast=True, piece=size))
        for field in dataclasses.fields(CheckReport):
            assert getattr(fast, field.name) == getattr(report, field.name), (field.name, size)
    return report


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_corpus(case: Case):
    text = case.path.read_text()
    same(TextTrace(case.header("arch"), text), case.header("policy", "wilcox"))


@pytest.mark.parametrize("what", TRACES)
def test_strange_traces(what: str):
    report = same(TextTrace("x86_64", TRACES[what]), "wilcox")
    assert report.rules["flush-deadline"].armed
    assert report.coverage["returns to user"] > 0


@dataclasses.dataclass(frozen=True)
class Written:
    arch: str
    array: np.ndarray

    def events(self) -> np.ndarray:
        return self.array


CPUS = integers(0, 2)
PAGES = integers(0, 7)
FRAMES = integers(0, 3)
TASKS = integers(0, 3)
FUNCTIONS = integers(1, 4)
GATHERS = sampled_from(("flushed", "forgotten", "empty"))
VMA_WORDS = sampled_from(
    ("VMA_START", "VMA_END", "VMA_MM", "VMA_FLAGS", "VMA_LOCK_SEQ", "VMA_PAGE_PROT")
)
STACK = 0xFFFFC90000000000
VMA_STRUCT = 0xFFFF888000660000
VA, TABLE, ROOTS = 0x400000, 0x13000, (0x10000, 0x20000)


class Guest(RuleBasedStateMachine):
    """Events as CPUs, tables, locks and flushes could give them; legal, not always correct."""

    arch = ""

    @initialize()
    def begin(self):
        self.lines = [(CORPUS / f"preamble_{self.arch}.trace").read_text()]
        self.entries = [0] * 8
        self.running = [0, 1, 2]
        self.frames: list[list[tuple[int, int]]] = [[] for _ in range(4)]
        self.lock = 0
        for page in range(8):
            self.entries[page] = self.entry(page, True) if page < 2 else 0
        for cpu in range(3):
            self.switch(cpu, cpu, force=True)
            self.load(cpu, 0, 1)

    def say(self, cpu: int, text: str) -> None:
        self.lines.append(f"{cpu} {text} icount={len(self.lines) * 3}")

    def entry(self, frame: int, write: bool) -> int:
        raise NotImplementedError

    @rule(cpu=CPUS, page=PAGES, frame=FRAMES, write=booleans(), valid=booleans())
    def store(self, cpu, page, frame, write, valid):
        old = self.entries[page]
        new = self.entry(frame, write) if valid else 0
        self.say(
            cpu,
            f"PTE_WRITE a={TABLE + 8 * page:#x} b={old:#x} c={new:#x} "
            f"d={VA + 4096 * page:#x} level=1",
        )
        self.entries[page] = new

    @rule(cpu=CPUS, page=PAGES, frame=FRAMES, write=booleans())
    def use(self, cpu, page, frame, write):
        flags = " flags=STORE" if write else ""
        self.say(cpu, f"OBS a={VA + 4096 * page + 16:#x} b={0x50010 + 4096 * frame:#x}{flags}")

    @rule(cpu=CPUS, page=PAGES)
    def fault(self, cpu, page):
        self.say(cpu, f"PROBE id=FAULT a={VA + 4096 * page + 8:#x} b=4")

    @rule(cpu=CPUS, name=sampled_from(("munmap", "mprotect", "mmap", "getpid", "fork")), page=PAGES)
    def call(self, cpu, name, page):
        number = self.numbers[name]
        third = {"mprotect": 1}.get(name, 3)
        where = f" b={VA + 4096 * page:#x} c=0x2000 d={third}" if name != "fork" else ""
        self.say(cpu, f"PROBE id=SYSCALL a={number}{where} flags=MORE")
        self.say(cpu, "PROBE_MORE id=SYSCALL a=0x32")

    @rule(cpu=CPUS, page=PAGES, functions=integers(1, 4), flushed=booleans(), draw=data())
    def unmap(self, cpu, page, functions, flushed, draw):
        """A whole munmap, inside of functions, that may forget its flush."""
        self.store(cpu, page, page % 4, True, True)
        self.call(cpu, "munmap", page)
        for function in range(functions):
            self.enter(cpu, function + 1, 1)
        self.store(cpu, page, 0, False, False)
        for _ in range(functions):
            self.leave(cpu, False)
        if flushed:
            self.flush(cpu, page, draw)
        self.to_user(cpu, False)
        self.use((cpu + 1) % 3, page, page % 4, False)

    @rule(cpu=CPUS, failed=sampled_from((False, False, False, True)))
    def to_user(self, cpu, failed):
        self.say(cpu, f"RET_USER a={-12 if failed else 0}")
        self.frames[self.running[cpu]].clear()

    @rule(cpu=CPUS, task=TASKS)
    def switch(self, cpu, task, force=False):
        if task in self.running and not force:
            return
        self.running[cpu] = task
        self.say(
            cpu,
            f"PROBE id=TASK_SWITCH a={0x100 * (task + 1):#x} b={100 + task} c=100 "
            f"d={self.mm:#x} flags=MORE",
        )
        base = STACK + 0x8000 * task
        self.say(cpu, f"PROBE_MORE id=TASK_SWITCH a={0x61 + task} c={base:#x}")

    @rule(cpu=CPUS, function=FUNCTIONS, depth=integers(1, 4))
    def enter(self, cpu, function, depth):
        frames = self.frames[self.running[cpu]]
        top = frames[-1][1] if frames else STACK + 0x8000 * self.running[cpu] + 0x3000
        frames.append((function, top - 16 * depth))
        self.say(cpu, f"ENTER id={function} a={frames[-1][1]:#x}")

    @rule(cpu=CPUS, unseen=sampled_from((False, False, False, True)))
    def leave(self, cpu, unseen):
        frames = self.frames[self.running[cpu]]
        if frames:
            function, sp = frames.pop()
            if not unseen:
                self.say(cpu, f"EXIT id={function} a={sp:#x}")

    @rule(cpu=CPUS, function=FUNCTIONS, depth=integers(1, 4))
    def interrupt(self, cpu, function, depth):
        sp = 0xFFFFFE0000004000 + 0x8000 * cpu - 16 * depth
        self.say(cpu, f"ENTER id={function} a={sp:#x}")
        self.say(cpu, f"EXIT id={function} a={sp:#x}")

    @rule(cpu=CPUS, step=sampled_from((0x100, -0x100, 1, -1, 2, -2, 0xFF)), place=integers(0, 2))
    def locks(self, cpu, step, place):
        new = self.lock + step
        if new < 0 or (step == 1 and self.lock & ~2) or (step in (-1, 0xFF) and not self.lock & 1):
            return
        if (step == 2 and self.lock & 2) or (step == -2 and not self.lock & 2):
            return
        self.say(
            cpu,
            f"WATCH id=MMAP_LOCK a=0xaa0000 b={self.lock:#x} c={new:#x} d={self.mm:#x} "
            f"pc={0x1000 + 16 * place + (step > 0):#x}",
        )
        self.lock = new

    @rule(cpu=CPUS, page=PAGES, before=booleans(), inside=booleans(), what=GATHERS)
    def gather(self, cpu, page, before, inside, what):
        """A gather (struct mmu_gather) that may forget its flush, in a hold of mmap_lock or not."""
        tlb = STACK + 0x8000 * self.running[cpu] + 0x2F00
        self.reader(cpu, before)
        self.say(cpu, f"ENTER id=tlb_gather_mmu a={tlb - 0x100:#x} b={tlb:#x} c={self.mm:#x}")
        self.say(cpu, f"EXIT id=tlb_gather_mmu a={tlb - 0x100:#x}")
        self.reader(cpu, inside)
        self.say(cpu, f"ENTER id=change_protection a={tlb - 0x200:#x}")
        if what != "empty":
            self.store(cpu, page, 0, False, False)
        self.say(cpu, f"EXIT id=change_protection a={tlb - 0x200:#x}")
        self.reader(cpu, inside, leaves=True)
        self.say(cpu, f"ENTER id=tlb_finish_mmu a={tlb - 0x100:#x} b={tlb:#x}")
        if what == "flushed":
            self.simple_flush(cpu, page)
        self.say(cpu, f"EXIT id=tlb_finish_mmu a={tlb - 0x100:#x}")
        self.reader(cpu, before, leaves=True)

    def reader(self, cpu, wanted, leaves=False):
        if wanted:
            self.locks(cpu, -0x100 if leaves else 0x100, 0)

    def simple_flush(self, cpu, page):
        raise NotImplementedError

    @rule(cpu=CPUS, page=PAGES, name=sampled_from(("do_wp_page", "__split_huge_pmd", "do_madvise")))
    def replace(self, cpu, page, name):
        """One entry after another, under the table's lock."""
        sp = STACK + 0x8000 * self.running[cpu] + 0x2E00
        self.say(cpu, f"ENTER id={name} a={sp:#x}")
        self.say(cpu, f"WATCH id=PTL a=0x4c028 b=0 c=1 d={TABLE:#x} size=1")
        self.store(cpu, page, 0, False, False)
        self.store(cpu, page, page % 3, True, True)
        self.say(cpu, f"WATCH id=PTL a=0x4c028 b=1 c=0 d={TABLE:#x} size=1")
        self.say(cpu, f"EXIT id={name} a={sp:#x}")

    @rule(cpu=CPUS, taken=booleans(), table=integers(0, 1))
    def table_lock(self, cpu, taken, table):
        where = f"a={0x4C028 + 64 * table:#x} d={TABLE + 0x1000 * table:#x}"
        self.say(cpu, f"WATCH id=PTL {where} b={int(not taken)} c={int(taken)} size=1")

    @rule(cpu=CPUS, old=integers(0, 2), new=integers(0, 2))
    def vma_count(self, cpu, old, new):
        self.say(cpu, f"WATCH id=VMA_REFCNT a=0x660080 b={old} c={new} d={VMA_STRUCT:#x} size=4")

    @rule(cpu=CPUS, word=VMA_WORDS, first=booleans(), value=PAGES, vma=integers(0, 1))
    def vma_word(self, cpu, word, first, value, vma):
        kind, number = "WATCH_INIT" if first else "WATCH", VA + 4096 * value
        number = self.mm if word == "VMA_MM" else 1 << 10 if word == "VMA_FLAGS" else number
        where = VMA_STRUCT + 0x100 * vma
        self.say(cpu, f"{kind} id={word} a={where:#x} c={number:#x} d={where:#x}")

    @rule(cpu=CPUS, vma=integers(0, 1))
    def free_vma(self, cpu, vma):
        sp = STACK + 0x8000 * self.running[cpu] + 0x2D00
        self.say(cpu, f"ENTER id=vm_area_free a={sp:#x} b={VMA_STRUCT + 0x100 * vma:#x}")
        self.say(cpu, f"EXIT id=vm_area_free a={sp:#x}")

    @rule(cpu=CPUS, root=integers(0, 1), asid=integers(1, 2))
    def load(self, cpu, root, asid):
        raise NotImplementedError

    @rule(cpu=CPUS, page=PAGES, draw=data())
    def flush(self, cpu, page, draw):
        raise NotImplementedError

    def teardown(self):
        if hasattr(self, "lines"):
            array = parse("\n".join(self.lines))
            # The smaller the pieces the longer it takes: every guest has one size of its own.
            size = SIZES[len(array) % len(SIZES)]
            for policy in POLICIES:
                same(Written(self.arch, array), policy, (size, SIZES[-1]))


class X86Guest(Guest):
    arch = "x86_64"
    mm = 0xFFFF888000AA0000
    numbers: ClassVar = {"munmap": 11, "mprotect": 10, "mmap": 9, "getpid": 39, "fork": 57}

    def entry(self, frame, write):
        return 0x50065 + 4096 * frame + 2 * write

    def load(self, cpu, root, asid):
        self.say(cpu, f"ROOT_LOAD id=CR3 a={ROOTS[root]:#x} b={ROOTS[root]:#x}")

    def simple_flush(self, cpu, page):
        va = VA + 4096 * page
        for each in range(3):
            self.say(each, f"FLUSH id=INVLPG a={va:#x} b={va + 4096:#x} flags=LOCAL")

    def flush(self, cpu, page, draw):
        if draw.draw(booleans()):
            lazy = draw.draw(booleans())
            self.say(cpu, f"WATCH id=IS_LAZY b={int(not lazy)} c={int(lazy)} d={cpu}")
        va = VA + 4096 * page
        self.say(cpu, f"FLUSH id=INVLPG a={va:#x} b={va + 4096:#x} flags=LOCAL")


class Arm64Guest(Guest):
    arch = "arm64"
    mm = 0xFFFF000000AA0000
    numbers: ClassVar = {"munmap": 215, "mprotect": 226, "mmap": 222, "getpid": 172, "fork": 220}

    def entry(self, frame, write):
        return 0x50F43 + 4096 * frame + 0x80 * (not write)

    def load(self, cpu, root, asid):
        self.say(cpu, f"ROOT_LOAD id=TTBR1 a={asid << 48 | 0x1000:#x} b=0x1000 c={asid}")
        self.say(cpu, f"ROOT_LOAD id=TTBR0 a={ROOTS[root]:#x} b={ROOTS[root]:#x}")

    def simple_flush(self, cpu, page):
        va = VA + 4096 * page
        self.say(cpu, "BARRIER id=DSB a=0xa")
        self.say(cpu, f"FLUSH id=TLBI_VA a={va:#x} b={va + 4096:#x} c=1")
        self.say(cpu, "BARRIER id=DSB a=0xb")

    def flush(self, cpu, page, draw):
        va = VA + 4096 * page
        for what in draw.draw(
            sampled_from(("s", "b", "t", "stb", "ssb", "bbb", "tb", "sttbb", "bbtbb"))
        ):
            if what == "t":
                asid = draw.draw(integers(1, 2))
                self.say(cpu, f"FLUSH id=TLBI_VA a={va:#x} b={va + 4096:#x} c={asid}")
            else:
                self.say(cpu, f"BARRIER id=DSB a={0xA if what == 's' else 0xB}")


SETTINGS = settings(
    max_examples=60,
    stateful_step_count=60,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestX86 = X86Guest.TestCase
TestX86.settings = SETTINGS
TestArm64 = Arm64Guest.TestCase
TestArm64.settings = SETTINGS
