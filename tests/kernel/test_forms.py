"""Every form that users have a kernel in, made from Debian's: all load, and give the same facts."""

from __future__ import annotations

from pathlib import Path

import pytest

from shootdown import arch
from shootdown.errors import InfraError, UsageError
from shootdown.kernel import facts, tree
from shootdown.kernel.facts import KernelFacts
from shootdown.kernel.image import load
from tests.kernel import forms
from tests.kernel.forms import PACKERS, run, stock

CONFIG = {"x86_64": "CONFIG_X86_64=y\n", "arm64": "CONFIG_ARM64=y\n"}


@pytest.fixture(scope="module")
def x86() -> KernelFacts:
    return stock("x86_64")


@pytest.fixture(scope="module")
def arm() -> KernelFacts:
    return stock("arm64")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the tests unpack goes to a place of their own."""
    monkeypatch.setenv("SHOOTDOWN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def vmlinux(
    x86: KernelFacts, arm: KernelFacts, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Each kernel as an ELF file with symbols."""
    place = {name: tmp_path_factory.mktemp(name) / "vmlinux" for name in arch.names()}
    return {
        known.arch: forms.vmlinux(place[known.arch], known.image, known.symbols)
        for known in (x86, arm)
    }


@pytest.mark.parametrize("packing", PACKERS)
def test_bzimage_of_every_compression(x86: KernelFacts, tmp_path: Path, packing: str) -> None:
    data = x86.path.read_bytes()
    path = tmp_path / "bzImage"
    path.write_bytes(forms.repacked(data, packing, forms.inside(data)))
    found = load(path)
    assert found.form == f"x86 bzImage, {packing}"
    assert (found.build_id, found.release) == (x86.build_id, x86.release)
    assert found.segments == x86.image.segments
    assert found.boot_path == path


@pytest.mark.parametrize("packing", PACKERS)
def test_arm64_image_of_every_compression(arm: KernelFacts, tmp_path: Path, packing: str) -> None:
    data = arm.path.read_bytes()
    packed = {"compressed arm64 Image": PACKERS[packing](data), "EFI zboot image": b""}
    packed["EFI zboot image"] = forms.zboot(packing, data)
    for name, content in packed.items():
        path = tmp_path / "kernel"
        path.write_bytes(content)
        found = load(path)
        assert found.form == f"{name}, {packing}"
        assert found.segments == arm.image.segments
        assert found.boot_path.read_bytes() == data


@pytest.mark.parametrize("name", arch.names())
def test_vmlinux_beside_the_image(
    name: str, x86: KernelFacts, arm: KernelFacts, vmlinux: dict[str, Path], cache: Path
) -> None:
    known = {"x86_64": x86, "arm64": arm}[name]
    place = vmlinux[name].parent
    boot = place / {"x86_64": "bzImage", "arm64": "Image"}[name]
    boot.write_bytes(known.path.read_bytes())
    for given in (boot, vmlinux[name]):
        found = facts.load(given, cache)
        assert found.symbols_from.startswith(f"ELF symbol table, {vmlinux[name]}")
        assert found.types_from == f"BTF, {boot}"
        assert found.boot_path == boot
        assert found.members == known.members
        assert {n: found.symbols[n] for n in known.symbols} == dict(known.symbols)


def test_vmlinux_alone(vmlinux: dict[str, Path], arm: KernelFacts, cache: Path) -> None:
    for path in vmlinux.values():
        for image in ("bzImage", "Image"):
            (path.parent / image).unlink(missing_ok=True)
    with pytest.raises(InfraError, match="only with CONFIG_PVH: give its bzImage"):
        facts.load(vmlinux["x86_64"], cache)
    found = facts.load(vmlinux["arm64"], cache)
    assert found.members == arm.members
    assert found.boot_path.is_relative_to(cache)
    # The pointers are filled in already, so the flat file is not Debian's, but the same kernel.
    assert load(found.boot_path).segments == arm.image.segments


def test_stock_vmlinux_says_where_to_enter_it(
    x86: KernelFacts, tmp_path: Path, cache: Path
) -> None:
    (tmp_path / "vmlinux").write_bytes(forms.inside(x86.path.read_bytes()))
    found = facts.load(tmp_path / "vmlinux", cache)
    assert found.boot_path == tmp_path / "vmlinux"
    assert found.symbols_from.startswith("kallsyms in the image")
    assert found.symbols.vas.tolist() == x86.symbols.vas.tolist()


@pytest.fixture(params=["in-tree", "O="])
def built(request: pytest.FixtureRequest, x86: KernelFacts, tmp_path: Path) -> Path:
    """A tree that looks like one in which x86-64 was built."""
    place = tmp_path / "linux"
    boot = place / "arch/x86/boot"
    boot.mkdir(parents=True)
    if request.param == "in-tree":
        (place / "Kbuild").touch()
        arm = place / "arch/arm64/boot"
        arm.mkdir(parents=True)
        (arm / "Image").write_text("left over from another build")
    (place / ".config").write_text(CONFIG["x86_64"])
    (place / "System.map").write_text(forms.system_map(x86.symbols))
    (boot / "bzImage").write_bytes(x86.path.read_bytes())
    link = place / "arch/x86_64/boot"
    link.mkdir(parents=True)
    (link / "bzImage").symlink_to("../../x86/boot/bzImage")
    return place


def test_build_tree(built: Path, x86: KernelFacts, vmlinux: dict[str, Path], cache: Path) -> None:
    image = built / "arch/x86/boot/bzImage"
    for given in (built, image, built / "arch/x86_64/boot/bzImage"):
        found = facts.load(given, cache)
        assert found.boot_path == image
        assert found.symbols_from.startswith(f"System.map, {built}/System.map")
        assert found.members == x86.members
    (built / "vmlinux").symlink_to(vmlinux["x86_64"])
    for given in (built, image, built / "vmlinux"):
        found = facts.load(given, cache)
        assert found.boot_path == image
        assert found.symbols_from.startswith(f"ELF symbol table, {built}/vmlinux")


def test_trees_in_which_nothing_was_built(tmp_path: Path) -> None:
    cases = {
        "holds no .config; configure": (),
        r"name its output directory \(O=\)": ("Kbuild",),
        "without a boot image; run make": (".config",),
    }
    for number, (why, names) in enumerate(cases.items()):
        place = tmp_path / str(number)
        place.mkdir()
        for name in names:
            (place / name).touch()
        with pytest.raises(UsageError, match=why):
            tree.of_tree(place)
    (tmp_path / ".config").write_text("CONFIG_X86=y\nCONFIG_X86_32=y\n")
    with pytest.raises(UsageError, match="configured for a 32-bit machine"):
        tree.of_tree(tmp_path)


def packed(place: Path, names: dict[str, bytes]) -> Path:
    """A Debian package with these files."""
    (place / "deb/DEBIAN").mkdir(parents=True)
    control = (
        "Package: linux-image\nVersion: 1\nArchitecture: amd64\nMaintainer: n\nDescription: n\n"
    )
    (place / "deb/DEBIAN/control").write_text(control)
    for name, data in names.items():
        (place / "deb" / name).parent.mkdir(parents=True, exist_ok=True)
        (place / "deb" / name).write_bytes(data)
    run(place, "dpkg-deb", "--root-owner-group", "-Znone", "--build", "deb", "kernel.deb")
    return place / "kernel.deb"


@pytest.mark.parametrize("image", ["boot/vmlinuz-6.99", "usr/lib/modules/6.99/vmlinuz"])
def test_package(x86: KernelFacts, tmp_path: Path, cache: Path, image: str) -> None:
    stub = b"ffffffffffffffff B The real System.map is elsewhere\n"
    content = {image: x86.path.read_bytes(), "boot/System.map-6.99": stub, "boot/config-6.99": b""}
    path = packed(tmp_path, content)
    found = facts.load(path, cache)
    assert found.boot_path.is_relative_to(cache)
    assert found.boot_path.read_bytes() == x86.path.read_bytes()
    assert found.symbols_from.startswith("kallsyms in the image")
    assert found.files.config is not None
    assert facts.load(path, cache).files == found.files


def test_package_of_a_build_with_its_system_map(
    x86: KernelFacts, tmp_path: Path, cache: Path
) -> None:
    table = forms.system_map(x86.symbols).encode()
    content = {"boot/vmlinuz-6.99": x86.path.read_bytes(), "boot/System.map-6.99": table}
    found = facts.load(packed(tmp_path, content), cache)
    assert found.symbols_from.startswith(f"System.map, {cache}")


def test_packages_without(tmp_path: Path, cache: Path) -> None:
    two = {f"boot/vmlinuz-6.{number}": b"kernel" for number in (1, 2)}
    cases = {"holds no kernel image": {"etc/motd": b""}, "holds several kernels": two}
    for number, (why, content) in enumerate(cases.items()):
        (tmp_path / str(number)).mkdir()
        with pytest.raises(InfraError, match=why):
            facts.load(packed(tmp_path / str(number), content), cache)
    whole = packed(tmp_path, {"boot/vmlinuz-6.1": bytes(100_000)}).read_bytes()
    for size in (30, 200, len(whole) // 2):
        (tmp_path / "cut.deb").write_bytes(whole[:size])
        with pytest.raises(InfraError, match=r"does not unpack|no kernel image"):
            facts.load(tmp_path / "cut.deb", cache)
