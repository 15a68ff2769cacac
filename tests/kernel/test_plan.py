"""The plugin's plan: its grammar, and that it says the right thing of each kernel."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from shootdown import arch
from shootdown.arch.base import Arch
from shootdown.errors import InfraError, UsageError
from shootdown.kernel import plan
from shootdown.kernel.facts import KernelFacts
from shootdown.kernel.plan_arm64 import va_bits
from shootdown.kernel.symbols import SymbolTable
from shootdown.trace.schema import VERSION, Probe, Watch

RAM = 512 << 20
NUMBER = r"(?:0x[0-9a-f]+|\d+)"
WORD = rf"@{NUMBER}(?:->{NUMBER})*(?:&{NUMBER})?"
TERM = rf"(?:{NUMBER}|{WORD})(?:[+-](?:{NUMBER}|{WORD}))*"
REGISTER = r"(?:r[a-z0-9]+|cr2|x\d+|sp)"
OPERAND = rf"(?:(?:kept:)?{REGISTER}|{NUMBER})"
CAPTURE = rf"{REGISTER}(?:\+{NUMBER}:[1-8])?"
FRAMES = r"(?:freed|freed_array|freed_list|allocated|allocated_array)"
ACTION = (
    rf"(?:emit|enter|exit|tail|(?:un)?watch {NUMBER} {REGISTER}|forget_root {REGISTER}"
    rf"|keep {REGISTER} {REGISTER}|{FRAMES} {OPERAND} {OPERAND})"
)
GRAMMAR = {
    "schema": NUMBER,
    "arch": "x86_64|arm64",
    "thread": "multi|single",
    "ram": f"{NUMBER} {NUMBER}",
    "anchor": rf"{NUMBER} (?:[0-9a-f]{{2}}|\?\?){{64}}",
    "start": NUMBER,
    "linear": f"{TERM} {TERM}",
    "image": f"{NUMBER} {NUMBER} {TERM}",
    "slow_table": NUMBER,
    "kernel_root": NUMBER,
    "percpu": NUMBER,
    "stack": NUMBER,
    "watch": " ".join([NUMBER] * 4),
    "percpu_watch": " ".join([NUMBER] * 4),
    "set": " ".join([NUMBER] * 4) + f"( root| always| via {NUMBER})?",
    "pages": f"{TERM} {NUMBER}",
    "table_lock": " ".join([NUMBER] * 4) + "( pointer)?",
    "compound": " ".join([NUMBER] * 3),
    "probe": rf"{NUMBER} {NUMBER}(?: {ACTION})*(?: {CAPTURE})*",
    "observe": "[01]",
    "test_drop_store": NUMBER,
    "test_delay_us": NUMBER,
}
ONCE = {"schema", "arch", "thread", "ram", "anchor", "start", "linear", "image", "slow_table"}
ONCE |= {"kernel_root", "percpu", "watch", "observe"}
CAPTURES = {
    Probe.SYSCALL: 8,
    Probe.TASK_SWITCH: 7,
    Probe.FAULT: 2,
    Probe.MM_ALLOC: 1,
    Probe.MM_FREE: 2,
    Probe.SWITCH_MM: 1,
}


def parse(text: str) -> dict[str, list[str]]:
    """Directives and their arguments; asserts that each keeps to the grammar."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        directive, _, rest = line.partition("#")[0].strip().partition(" ")
        if directive:
            assert re.fullmatch(GRAMMAR[directive], rest), line
            found.setdefault(directive, []).append(rest)
    return found


def made(facts: KernelFacts) -> dict[str, list[str]]:
    """The plan without event groups."""
    return parse(plan.make(facts, arch.get(facts.arch), ram_size=RAM, events="none"))


def without(facts: KernelFacts, *names: str) -> KernelFacts:
    """The facts of a kernel that lacks some symbols."""
    kept = {name: va for name, va in facts.symbols.items() if name not in names}
    none = SymbolTable([], facts.symbols.vas[:0])
    return replace(facts, symbols=none.with_more(kept))


def test_every_kernel(learned: KernelFacts) -> None:
    found = made(learned)
    assert {name for name, lines in found.items() if len(lines) == 1} >= ONCE
    assert found["schema"] == [str(VERSION)]
    assert found["arch"] == [learned.arch]
    ram_base = arch.get(learned.arch).machine.ram_base
    assert found["ram"] == [f"{ram_base:#x} {RAM:#x}"]
    assert found["linear"][0].split()[1] == f"{ram_base:#x}"
    assert int(found["start"][0], 16) == learned.va("rest_init")
    assert int(found["percpu"][0], 16) == learned.va("__per_cpu_offset")


def test_all_groups_keep_to_the_grammar(learned: KernelFacts) -> None:
    text = plan.make(learned, arch.get(learned.arch), ram_size=RAM, events="all")
    assert len(parse(text)["probe"]) > len(made(learned)["probe"])


def test_probes_are_at_functions(learned: KernelFacts) -> None:
    seen = set()
    for line in made(learned)["probe"]:
        pc, number, *rest = line.split()
        probe = Probe(int(number))
        name, offset = learned.symbols.at(int(pc, 16))
        assert offset == 0, name
        assert learned.va("_stext") <= int(pc, 16) < learned.va("_etext")
        actions = re.findall(ACTION, line)
        words = len(" ".join(actions).split())
        assert actions[0] == "emit"
        assert len(rest) - words == CAPTURES[probe], line
        seen.add(probe)
    only_x86 = {Probe.SWITCH_MM} if learned.arch == "arm64" else set()
    assert seen == set(Probe) - only_x86


def test_watches(learned: KernelFacts) -> None:
    found = made(learned)
    identity, va, size, base = (int(word, 0) for word in found["watch"][0].split())
    count = learned.member("mm_struct.mmap_lock.count")
    assert (identity, size, base) == (Watch.MMAP_LOCK, 8, learned.va("init_mm"))
    assert va == base + count.offset
    pgd = learned.member("mm_struct.pgd").offset
    assert found["set"] == [f"1 1 {count.offset:#x} 8", f"1 2 {pgd:#x} 8 root"]


def test_per_cpu_watches_are_x86s(learned: KernelFacts) -> None:
    lines = made(learned).get("percpu_watch", [])
    array = learned.va("__per_cpu_offset")
    got = [(int(w[0]), int(w[2]), int(w[3], 16)) for w in map(str.split, lines)]
    wanted = [(Watch.IS_LAZY, 1, array), (Watch.LOADED_MM, 8, array)]
    assert got == (wanted if learned.arch == "x86_64" else [])


def test_the_image_holds_the_root_table(learned: KernelFacts) -> None:
    found = made(learned)
    first, size = (int(word, 16) for word in found["image"][0].split()[:2])
    for name in ("kernel_root", "slow_table"):
        va = int(found[name][0], 16)
        assert first <= va < first + size
        assert va % 4096 == 0


def test_va_bits_are_as_configured(kernel: tuple[Arch, Path], learned: KernelFacts) -> None:
    """Debian's package has the configuration beside the image until 7.2."""
    config = kernel[1].with_name("config")
    text = config.read_text() if config.is_file() else ""
    bits = re.search(r"^CONFIG_ARM64_VA_BITS=(\d+)", text, re.MULTILINE)
    if learned.arch == "arm64":
        assert va_bits(learned) == (int(bits[1]) if bits else 52)
    else:
        assert bits is None


def test_va_bits_follow_the_levels(learned: KernelFacts) -> None:
    assert va_bits(without(learned, "__p4d_alloc")) == 48
    assert va_bits(without(learned, "__p4d_alloc", "__pud_alloc")) == 39


def test_essentials_are_named(learned: KernelFacts) -> None:
    which = arch.get(learned.arch)
    for name in (
        "start_kernel",
        "rest_init",
        "init_mm",
        "pgd_alloc",
        "pgd_free",
        "__switch_to",
        "_end",
    ):
        with pytest.raises(InfraError, match=f"no symbol '{name}'"):
            plan.make(without(learned, name), which, ram_size=RAM)


def test_an_optional_probe_is_dropped_and_named(learned: KernelFacts) -> None:
    name = {"x86_64": "exc_page_fault", "arm64": "do_mem_abort"}[learned.arch]
    which = arch.get(learned.arch)
    text = plan.make(without(learned, name), which, ram_size=RAM, events="none")
    assert f"# not probed: FAULT: The kernel has no symbol '{name}'" in text
    probes = [line.split() for line in parse(text)["probe"]]
    assert not any(words[1:3] == [str(int(Probe.FAULT)), "emit"] for words in probes)


def test_options(learned: KernelFacts) -> None:
    which = arch.get(learned.arch)
    text = plan.make(
        learned,
        which,
        ram_size=RAM,
        thread="single",
        observe=False,
        events="none",
        drop_store=3,
        delay_us=50,
    )
    found = parse(text)
    assert (found["thread"], found["observe"]) == (["single"], ["0"])
    assert (found["test_drop_store"], found["test_delay_us"]) == (["3"], ["50"])


def test_misuse(learned: KernelFacts) -> None:
    which = arch.get(learned.arch)
    other = arch.get({"x86_64": "arm64", "arm64": "x86_64"}[learned.arch])
    with pytest.raises(UsageError, match="is a kernel for"):
        plan.make(learned, other, ram_size=RAM)
    with pytest.raises(UsageError, match="do not lie in one piece"):
        plan.make(learned, which, ram_size=1 << 40)
    with pytest.raises(UsageError, match="thread mode"):
        plan.make(learned, which, ram_size=RAM, thread="many")
