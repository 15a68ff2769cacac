"""Profiles replace words of the default configuration, and refuse what cannot be recorded."""

from __future__ import annotations

import re

import pytest

from shootdown import arch
from shootdown.arch import profiles
from shootdown.errors import UsageError

EVERY = [(name, profile) for name in arch.names() for profile in arch.get(name).profiles]


@pytest.mark.parametrize(("name", "profile"), EVERY)
def test_replaces_words_that_the_default_has(name: str, profile: str) -> None:
    machine, found = arch.get(name).machine, arch.get(name).profiles[profile]
    assert set(found.cmdline) <= set(machine.cmdline)
    assert set(found.cpu) <= set(machine.cpu)
    assert set(found.args) <= set(machine.args)
    assert found.cmdline or found.cpu or found.args


def test_no_profile_changes_nothing() -> None:
    assert profiles.apply(arch.get("arm64"), "") is arch.get("arm64")


def test_profiles_add_up() -> None:
    machine = profiles.apply(arch.get("x86_64"), "pti,la57").machine
    assert machine.cmdline == ("nokaslr", "pti=on", "no_timer_check")
    assert machine.cpu == ("max", "la57=on", "erms=off", "fsrm=off")
    assert arch.get("x86_64").machine.cpu[1] == "la57=off"
    both = profiles.apply(arch.get("x86_64"), "kaslr,pti").machine
    assert both.cmdline == ("pti=on", "no_timer_check")
    moved = profiles.apply(arch.get("arm64"), "kaslr,kpti").machine
    assert moved.cmdline == ("kpti=on", "arm64.nomops")
    assert "dtb-randomness=on" in moved.args[1]


def test_what_only_others_have() -> None:
    assert profiles.lacking(arch.get("arm64"), "kaslr,pti,la57,nonsense") == ["pti", "la57"]
    assert profiles.lacking(arch.get("arm64"), "") == []


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("arm64", "pti", "profile pti is for x86_64; arm64 has kaslr, kpti, lpa2"),
        ("x86_64", "pti,kpti", "profile kpti is for arm64; x86_64 has kaslr, pti"),
        ("x86_64", "la75", "unknown profile 'la75'; did you mean la57?"),
        ("x86_64", "pti,", "unknown profile ''; x86_64 has kaslr, pti, la57"),
    ],
)
def test_what_does_not_apply_is_named(name: str, given: str, said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        profiles.apply(arch.get(name), given)
