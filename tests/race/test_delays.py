"""Delays: as files, in kernels, and as policies choose them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from shootdown.errors import UsageError
from shootdown.kernel.facts import KernelFacts
from shootdown.race import delays, delays_file, policies
from shootdown.race.delays import Delay, Delays, Rank
from shootdown.race.policies import POLICIES, Subject
from shootdown.race.stage import SPECS
from shootdown.run import inject
from shootdown.run.experiment import Experiment


def subject(facts: KernelFacts, seed: int = 1) -> Subject:
    return policies.subject(facts, SPECS[facts.arch], seed=seed, smp=3, iterations=20)


def written(plan: Delays, facts: KernelFacts) -> list[str]:
    return list(delays.lines(plan, facts, SPECS[facts.arch], 7))


PLAN = Delays(
    (
        Delay(event="pte_write", old="present", new="none", chance=0.25, octaves=4),
        Delay(event="enter", function="tlb_finish_mmu", min_ns=20, limit=3),
        Delay(event="root_load", rank=True),
    ),
    (Rank(0, 0, 2), Rank(0, 9, 1), Rank(1, 0, 0)),
)


def test_a_file_and_back(tmp_path: Path) -> None:
    path = tmp_path / "delays.toml"
    path.write_text(delays_file.to_toml(PLAN))
    assert delays_file.load(path) == PLAN
    assert delays_file.of_toml(delays_file.to_toml(Delays())) == Delays()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("schema = ", "no TOML"),
        ("", "schema is None"),
        ("schema = 1\ndelays = 3", "unknown key delays; did you mean delay"),
        ("schema = 1\ndelay = 3", "two brackets"),
        ("schema = 1\ndelay = [3]", "a delay is a table"),
        ("schema = 1\n[[delay]]", "a delay needs event"),
        ("schema = 1\n[[delay]]\nevent = 'pte_wrote'", "did you mean pte_write"),
        ("schema = 1\n[[delay]]\nevent = 'enter'", "have a function"),
        ("schema = 1\n[[delay]]\nevent = 'root_load'\nfunction = 'f'", "and no others"),
        ("schema = 1\n[[delay]]\nevent = 'enter'\nfunction = 'f'\ninside = 'g'", "only a call"),
        ("schema = 1\n[[delay]]\nevent = 'root_load'\nchance = 0", "chance is above 0"),
        ("schema = 1\n[[delay]]\nevent = 'root_load'\nchance = 1.5", "chance is above 0"),
        ("schema = 1\n[[delay]]\nevent = 'root_load'\nchance = nan", "chance is above 0"),
        ("schema = 1\n[[delay]]\nevent = 'root_load'\nchance = true", "cannot be True"),
        ("schema = 1\n[[delay]]\nevent = 'root_load'\nmin_ns = 0", "takes 1 to 100000000 ns"),
        ("schema = 1\n[[delay]]\nevent = 'root_load'\noctaves = 17", "takes 1 to 100000000 ns"),
        ("schema = 1\n[[delay]]\nevent = 'root_load'\nlimit = 0", "limit is 1"),
        ("schema = 1\n[[delay]]\nevent = 'root_load'\nold = 'gone'", "old cannot be 'gone'"),
        ("schema = 1\n[[delay]]\nevent = 'root_load'\nwhen = 'after'", "a delay has no when"),
        ("schema = 1\n[[rank]]\ncpu = 1\nnth = 2", "a rank needs rank"),
        ("schema = 1\n[[rank]]\ncpu = 0\nnth = 0\nrank = 64", "are small"),
        ("schema = 1\n" + "[[delay]]\nevent = 'root_load'\n" * 2, "one root_load at most"),
        (
            "schema = 1\n"
            + "".join(f"[[rank]]\ncpu = 0\nnth = {n}\nrank = 1\n" for n in range(65)),
            "changes 64 times at most",
        ),
        ("schema = 1\n" + "[[rank]]\ncpu = 0\nnth = 3\nrank = 1\n" * 2, "order of arrivals"),
    ],
)
def test_a_wrong_file_says_what_is_wrong(text: str, why: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=why) as raised:
        delays_file.load(path)
    assert str(path) in str(raised.value)


def test_the_plugins_lines(learned: KernelFacts) -> None:
    finish = learned.va("tlb_finish_mmu")
    assert written(PLAN, learned) == [
        "delay_seed 0x7",
        "delay 1 pte present none window chance 250000 1000 4 1000000000"
        "  # pte_write present -> none in the window",
        f"delay 2 exec {finish:#x} chance 1000000 20 0 3  # enter tlb_finish_mmu",
        "delay 3 root rank 1000 1000000000  # root_load",
        "rank 0 0 2",
        "rank 0 9 1",
        "rank 1 0 0",
    ]


def test_what_a_kernel_does_not_have_is_refused(learned: KernelFacts) -> None:
    for event in ("enter", "return", "call"):
        wrong = Delays((Delay(event=event, function="tlb_finish_mm"),))
        with pytest.raises(UsageError, match="did you mean tlb_finish_mmu"):
            written(wrong, learned)
    inside = Delay(event="call", function="tlb_finish_mmu", inside="nobody")
    with pytest.raises(UsageError, match="it is called by"):
        written(Delays((inside,)), learned)
    many = Delays((Delay(event="enter", function="tlb_finish_mmu"),) * 1025)
    with pytest.raises(UsageError, match="too many"):
        written(many, learned)


@pytest.mark.parametrize("name", POLICIES)
def test_policies_find_their_points(name: str, learned: KernelFacts) -> None:
    chosen = policies.named(name).choose(subject(learned))
    lines = written(chosen, learned)
    assert len(lines) > 8 or name == "plain"
    assert delays_file.of_toml(delays_file.to_toml(chosen)) == replace(chosen, absent=())
    has_it = "lock_vma_under_rcu" in learned.symbols
    assert (chosen.absent != ()) == (name in ("targeted", "pct") and not has_it)


def test_the_seed_orders_the_vcpus(learned: KernelFacts) -> None:
    pct = policies.named("pct")
    ranks = [pct.choose(subject(learned, seed)).ranks for seed in (1, 1, 2, 3, 4)]
    assert ranks[0] == ranks[1]
    assert len(set(ranks)) > 2
    for each in ranks:
        assert sorted(rank.rank for rank in each if rank.nth == 0) == [0, 1, 2]


def test_where_no_delay_can_be() -> None:
    one = Experiment("x86_64", inject="targeted")
    inject.validate(one)
    for wrong, why in (
        (replace(one, thread="single"), "needs --thread multi"),
        (replace(one, plugin=False), "needs the plugin"),
        (replace(one, inject="targetted"), "did you mean targeted"),
        (replace(one, inject="/nowhere/delays.toml"), "cannot be read"),
    ):
        with pytest.raises(UsageError, match=why):
            inject.validate(wrong)
