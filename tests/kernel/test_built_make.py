"""Builds in a working directory: edits come and go, failures are told, interruptions end all."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shootdown import arch
from shootdown.errors import InfraError
from shootdown.kernel.built_make import Workshop
from shootdown.kernel.built_tools import CLANG, GCC, Toolchain

MAKEFILE = """\
allnoconfig:
	sed s/wanted/got/ $(KCONFIG_ALLCONFIG) >$(O)/.config
	echo "cross=$(CROSS_COMPILE) llvm=$(LLVM)" >$(O)/toolchain

bzImage: $(O)/mm/a.o
	mkdir -p $(O)/arch/x86/boot
	(cat $(O)/mm/a.o; echo $(LOCALVERSION) $(ARCH) $(KBUILD_BUILD_USER) $(FOREIGN)) \\
		>$(O)/arch/x86/boot/bzImage

$(O)/mm/a.o: mm/a.c
	@echo "  CC      mm/a.o"
	mkdir -p $(O)/mm
	grep -q sleeps $< && sleep 1000 || true
	! grep -q "error: " $<
	cp $< $@
"""


@pytest.fixture
def pristine(tmp_path: Path) -> Path:
    """A source tree with two files in it."""
    tree = tmp_path / "tree"
    (tree / "mm").mkdir(parents=True)
    (tree / "Makefile").write_text(MAKEFILE)
    (tree / "mm" / "a.c").write_text("one\n")
    (tree / "mm" / "b.c").write_text("two\n")
    return tree


@pytest.fixture
def shop(tmp_path: Path, pristine: Path) -> Workshop:
    shop = Workshop(tmp_path / "work", arch.get("x86_64"), 2)
    shop.link_source(pristine)
    return shop


def build(shop: Workshop) -> list[str]:
    assert shop.configure("wanted\n") == "got\n"
    shop.build("+mine", "test")
    return shop.image.read_text().split()


def test_source_is_shared(shop: Workshop, pristine: Path) -> None:
    assert (shop.source / "mm" / "a.c").samefile(pristine / "mm" / "a.c")


def test_build_sees_only_what_it_is_given(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOREIGN", "foreign")
    monkeypatch.setenv("MAKEFLAGS", "--dry-run")
    assert build(shop) == ["one", "+mine", "x86", "shootdown"]


def test_edits_come_and_go(shop: Workshop, pristine: Path) -> None:
    assert build(shop)[0] == "one"
    for changed, want in ({"mm/a.c": "three\n"}, "three"), ({"mm/b.c": "x\n"}, "one"), ({}, "one"):
        shop.edit(pristine, changed)
        assert build(shop)[0] == want
        for name in ("mm/a.c", "mm/b.c"):
            text = changed.get(name) or (pristine / name).read_text()
            assert (shop.source / name).read_text() == text
    assert (pristine / "mm" / "a.c").read_text() == "one\n"


def test_file_that_is_as_wanted_is_not_made_newer(shop: Workshop, pristine: Path) -> None:
    shop.edit(pristine, {"mm/a.c": "three\n"})
    before = (shop.source / "mm" / "a.c").stat().st_mtime_ns
    shop.edit(pristine, {"mm/a.c": "three\n"})
    assert (shop.source / "mm" / "a.c").stat().st_mtime_ns == before


def test_failure_says_what_and_where(shop: Workshop, pristine: Path) -> None:
    shop.edit(pristine, {"mm/a.c": "mm/a.c:1: error: no such thing\n"})
    shop.configure("")
    with pytest.raises(InfraError, match=r"test: make failed \(.*\); all it said is in") as failed:
        shop.build("", "test")
    assert str(shop.log) in str(failed.value)
    assert "a.o" in shop.log.read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_build_ends_all_and_goes_on(
    shop: Workshop, pristine: Path, number: signal.Signals
) -> None:
    shop.edit(pristine, {"mm/a.c": "sleeps\n"})
    code = (
        "import signal, sys; from pathlib import Path; from shootdown import arch\n"
        # A background job of a shell, as CI may be, has it ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from shootdown.cli.main import _Sigterm\n"
        "from shootdown.kernel.built_make import Workshop\n"
        "shop = Workshop(Path(sys.argv[1]), arch.get('x86_64'), 2)\n"
        "with _Sigterm():\n    shop.configure(''); shop.build('', 'test')"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(shop.path)], stderr=subprocess.DEVNULL
    ) as process:
        while not (running("sleep 1000", shop.path)):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(number)
        assert process.wait(timeout=120) != 0
    assert not running("sleep 1000", shop.path)
    shop.edit(pristine, {})
    assert build(shop)[0] == "one"


def running(command: str, place: Path) -> list[int]:
    """Processes with that command line that were started by make in the workshop ``place``."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")[:-1]
            at = (entry / "cwd").readlink()
        except OSError:
            continue
        if b" ".join(words).decode(errors="replace") == command and at == place / "src":
            found.append(int(entry.name))
    return found


def test_tree_that_was_linked_halfway_is_linked_again(tmp_path: Path, pristine: Path) -> None:
    shop = Workshop(tmp_path / "other", arch.get("x86_64"), 2)
    shutil.copytree(pristine / "mm", shop.path / "src.new" / "mm")
    shop.link_source(pristine)
    assert (shop.source / "Makefile").is_file()
    assert not (shop.path / "src.new").exists()


@pytest.mark.skipif(not shutil.which("pahole"), reason="no packages to build kernels with")
@pytest.mark.parametrize("name", arch.names())
def test_tools_have_versions(name: str) -> None:
    lines = GCC.versions(arch.get(name))
    assert len(lines) == 3
    assert all(any(c.isdigit() for c in line) for line in lines)


def test_a_tool_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(InfraError, match="does not run, which builds kernels"):
        GCC.versions(arch.get("x86_64"))


@pytest.mark.parametrize(
    ("chain", "told"), [(GCC, "cross=aarch64-linux-gnu- llvm="), (CLANG, "cross= llvm=-19")]
)
def test_make_is_told_of_the_toolchain(
    tmp_path: Path, pristine: Path, chain: Toolchain, told: str
) -> None:
    shop = Workshop(tmp_path / chain.name, arch.get("arm64"), 2, chain)
    shop.link_source(pristine)
    shop.configure("")
    assert (shop.objects / "toolchain").read_text() == f"{told}\n"


def test_program_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InfraError, match="clang-19 does not run, which builds kernels"):
        CLANG.versions(arch.get("arm64"))
