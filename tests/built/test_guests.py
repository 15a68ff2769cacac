"""Guests that run built kernels: recorded, audited, judged; mutants are caught."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest

from shootdown.cli.main import main
from shootdown.errors import ExitCode
from shootdown.model.known import known
from shootdown.rules.check import RULES
from shootdown.run import directory

from .kernels import CLANG, DEBUG, MARKS, MUTANTS, PLAIN, RT, of_all_archs

pytestmark = MARKS

SMALL: Final = ("--workload=map_fixed,munmap,fork_cow,mprotect", "--iterations=50")
EVERY_RULE: Final = ("--workload=map_fixed,munmap,fork_cow,mprotect,table_walk,pinned_fork",)


def run(out: Path, arch: str, spec: str, *words: str) -> int:
    fixed = ("run", f"--arch={arch}", f"--kernel={spec}", "--smp=2", f"--out={out}")
    return main([*fixed, *SMALL, *words])


def audit(out: Path) -> dict[str, Any]:
    return directory.read_json(out / "audit.json")


@pytest.mark.parametrize(("arch", "spec"), of_all_archs(*PLAIN, *DEBUG))
def test_kernel_passes_and_the_audit_agrees(arch: str, spec: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(out, arch, spec, "--events=all", *EVERY_RULE) == ExitCode.PASS
    found = audit(out)
    assert found["mismatches"] == found["unknown_tables"] == found["inconsistencies"] == 0, found
    assert found["nonzero_checked"] > 2000
    result = directory.read_json(out / "result.json")
    assert result["lost"] == 0
    armed = {name for name, rule in result["rules"].items() if rule["armed"]}
    rules = {rule.id for rule in RULES if arch in rule.archs}
    assert rules - armed <= {"aliased-translation"}, result["rules"]  # measured, not judged
    assert all(result["rules"][name]["exercised"] for name in armed - {"break-before-make"})


INLINED: Final = {
    "x86_64": {"vm_area_dup inside copy_mm", "try_grab_folio inside follow_page_pte"},
    "arm64": {
        "vm_area_dup inside copy_mm",
        "unpin_user_pages inside unpin_user_pages_dirty_lock",
    },
}


@pytest.mark.parametrize("arch", ["x86_64", "arm64"])
def test_what_clang_put_into_its_callers_is_said(arch: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(out, arch, CLANG, "--events=vmas,gup") == ExitCode.PASS
    absent = known(directory.read_json(out / "command.json")).absent
    assert {name for name in absent if " inside " in name} == INLINED[arch]


@pytest.mark.parametrize(("arch", "spec"), MUTANTS)
def test_mutant_is_caught(arch: str, spec: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(out, arch, spec) == ExitCode.VIOLATION
    rules = directory.read_json(out / "result.json")["rules"]
    assert rules["stale-after-return"]["violations"] > 0


@pytest.mark.parametrize("arch", ["x86_64", "arm64"])
def test_preempt_rt_is_refused_by_name(
    arch: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path / "out", arch, RT) == ExitCode.INFRA
    assert "is a PREEMPT_RT kernel" in capsys.readouterr().err
