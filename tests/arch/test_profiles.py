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
    assert bool(found.cmdline or found.cpu) != bool(found.refused)


def test_no_profile_changes_nothing() -> None:
    assert profiles.apply(arch.get("arm64"), "") is arch.get("arm64")


def test_profiles_add_up() -> None:
    machine = profiles.apply(arch.get("x86_64"), "pti,la57").machine
    assert machine.cmdline == ("nokaslr", "pti=on", "no_timer_check")
    assert machine.cpu == ("max", "la57=on", "erms=off", "fsrm=off")
    assert arch.get("x86_64").machine.cpu[1] == "la57=off"


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("arm64", "pti", "profile pti is for x86_64; arm64 has kpti"),
        ("x86_64", "pti,kpti", "profile kpti is for arm64; x86_64 has pti, la57"),
        ("x86_64", "la75", "unknown profile 'la75'; did you mean la57?"),
        ("x86_64", "pti,", "unknown profile ''; x86_64 has pti, la57"),
        ("arm64", "lpa2", "profile lpa2 of arm64 cannot be recorded: its user root tables are"),
    ],
)
def test_what_does_not_apply_is_named(name: str, given: str, said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        profiles.apply(arch.get(name), given)
