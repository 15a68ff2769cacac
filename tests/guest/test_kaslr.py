"""A kernel that KASLR has moved is found, followed and audited as one that stands still."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shootdown.arch import names
from shootdown.cli.main import main
from shootdown.errors import ExitCode
from shootdown.kernel import anchor
from shootdown.kernel.facts import KernelFacts
from shootdown.run import directory
from shootdown.trace.reader import Trace

pytestmark = pytest.mark.guest

SMALL = ("--workload=map_fixed", "--iterations=50", "--smp=2", "--mem=256")

# find_random_virt_addr() of arch/x86/boot/compressed/kaslr.c draws one of some 480 places, and
# the linked address is one of them: a boot in 480 moves nothing, so it is not the only one.
BOOTS = 3


def run(out: Path, *words: str) -> int:
    return main(["run", f"--out={out}", *SMALL, *words])


def audited(out: Path) -> int:
    """The slide, of a run whose audit is clean."""
    audit: dict[str, Any] = directory.read_json(out / "audit.json")
    assert audit["mismatches"] == audit["unknown_tables"] == audit["inconsistencies"] == 0, audit
    assert audit["nonzero_checked"] > 1000
    assert Trace(out / "trace").slide == audit["slide"]
    return int(audit["slide"])


def fingerprints(out: Path) -> dict[str, str]:
    """Where each violation seen to happen was made, by its fingerprint."""
    found = directory.read_json(out / "result.json")["violations"]
    return {v["fingerprint"]: v["pc"] for v in found if v["kind"] == "witness"}


def test_a_moved_kernel_is_recorded_and_changed(tmp_path: Path) -> None:
    """The mutation shows that its text was found, the fingerprint that its functions were."""
    for boot in range(BOOTS):
        out = tmp_path / str(boot)
        assert run(out, "--profile=kaslr", "--mutate=no-flush") == ExitCode.VIOLATION
        if audited(out):
            break
    assert audited(out) > 0
    assert any(pc.startswith("unmap_page_range+") for pc in fingerprints(out).values())


def test_an_anchor_that_is_never_met_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def elsewhere(facts: KernelFacts) -> str:
        return f"anchor {facts.va(anchor.SYMBOL):#x} {'00' * 64}"

    monkeypatch.setattr(anchor, "line", elsewhere)
    assert run(tmp_path / "out", "--profile=kaslr") == ExitCode.INFRA
    assert "nothing was recorded: the plugin never came upon" in capfd.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("arch", names())
def test_every_boot_is_somewhere_else(arch: str, tmp_path: Path) -> None:
    """arm64 takes its randomness from the seed; x86-64 adds the time."""
    slides = set()
    for seed in (1, 2):
        out = tmp_path / str(seed)
        code = run(out, f"--arch={arch}", "--append=kaslr", f"--seed={seed}")
        assert code == ExitCode.PASS
        slides.add(audited(out))
    assert len(slides) == 2


@pytest.mark.slow
@pytest.mark.parametrize("arch", names())
def test_a_finding_has_the_same_fingerprint(arch: str, tmp_path: Path) -> None:
    moved, still = tmp_path / "moved", tmp_path / "still"
    words = (f"--arch={arch}", "--mutate=no-flush")
    assert run(moved, *words, "--profile=kaslr") == ExitCode.VIOLATION
    assert run(still, *words) == ExitCode.VIOLATION
    assert audited(moved) != audited(still) == 0
    both = fingerprints(moved).items() & fingerprints(still).items()
    assert both, (fingerprints(moved), fingerprints(still))


@pytest.mark.slow
def test_check_guest_passes(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["ci", "--profile=kaslr", f"--out={out}"]) == ExitCode.PASS
    assert all(audited(out / name) for name in names())
