"""From what --kernel says to a kernel's files."""

from __future__ import annotations

from pathlib import Path

from shootdown import arch
from shootdown.arch import Arch
from shootdown.errors import UsageError
from shootdown.kernel import built, debian, facts, tree


def validate(spec: str, wanted: Arch) -> None:
    """Raise UsageError when ``spec`` names no kernel for the architecture; nothing is fetched.

    A local kernel's architecture is not looked at.
    """
    if built.is_built(spec):
        built.validate(spec).for_arch(wanted)
    elif not named(spec) and (path := _local(spec)).is_dir():
        tree.of_tree(path)


def named(spec: str) -> bool:
    """Whether ``spec`` is a name that the cache is asked for, and that any architecture has."""
    return spec.startswith("debian:") or built.is_built(spec)


def needed_mem(spec: str) -> int:
    """MiB of RAM that a guest needs at least with that kernel, as far as its name tells; or 0.

    Raises UsageError for the name of a built kernel that means nothing.
    """
    return built.validate(spec).mem if built.is_built(spec) else 0


def image(spec: str, wanted: Arch, cache: Path) -> Path:
    """The image for ``debian:VERSION``, ``built:VERSION+VARIANT``, a kernel's file, a build tree or
    a Debian package.

    A name that is not in the cache is fetched or built. Raises UsageError when there is no such
    thing, and what kernel.debian, kernel.built and kernel.tree raise.
    """
    if built.is_built(spec):
        return built.resolve(spec, wanted, cache).path
    if spec.startswith("debian:"):
        return debian.resolve(spec, wanted, cache).path
    return tree.locate(_local(spec), cache).image


def architectures(spec: str, cache: Path) -> tuple[str, ...]:
    """Names of the architectures that there is such a kernel for.

    One for a local kernel; all for a name, but for variants that are not for all. Raises what
    ``image`` raises.
    """
    if built.is_built(spec):
        return built.validate(spec).archs
    return arch.names() if named(spec) else (facts.load(_local(spec), cache).arch,)


def _local(spec: str) -> Path:
    path = Path(spec).expanduser()
    if not path.is_dir() and not path.is_file():
        raise UsageError(
            f"kernel {spec} does not exist; name a kernel image, a build tree, debian:VERSION or "
            "built:VERSION"
        )
    return path.absolute()
