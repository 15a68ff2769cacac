"""Kernels built from the distribution's source: ``built:6.12``, ``built:6.12+debug``.

A kernel lies in ``CACHE/built/ARCH/VERSION+VARIANT-KEY/``: the boot image, ``System.map``,
``config`` and ``manifest.json``, which says what it was made of. The key is made of everything
that decides what the kernel is (``built_recipe.Recipe``), so a kernel is built once.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from shootdown.arch.base import Arch
from shootdown.errors import InfraError, UsageError
from shootdown.kernel import built_config, built_edits, built_make, built_recipe
from shootdown.kernel import cache as store
from shootdown.kernel.built_make import Workshop
from shootdown.kernel.built_recipe import IMAGES, PREFIX, Name, Recipe
from shootdown.kernel.built_source import SourceShelf
from shootdown.kernel.built_tools import GCC, Toolchain


@dataclass(frozen=True)
class BuiltKernel:
    """A built kernel in the cache."""

    path: Path
    """The boot image (bzImage, Image)."""
    about: dict[str, Any]
    """Its manifest: source, variants, configuration, toolchain, seconds, bytes."""
    fresh: bool
    """Whether it was built just now."""


def is_built(spec: str) -> bool:
    """Whether ``spec`` means a built kernel."""
    return spec.startswith(PREFIX)


def validate(spec: str) -> Name:
    """The name's parts; nothing is fetched. Raises UsageError when the name means nothing."""
    return built_recipe.parse(spec)


def resolve(spec: str, arch: Arch, cache: Path, *, jobs: int = 0) -> BuiltKernel:
    """The kernel that ``spec`` names, built if the cache does not have it.

    ``cache`` is the root of the cache, ``jobs`` how many programs make starts at once (0: one for
    each CPU). Raises UsageError for a name that means nothing, or when packages are missing that
    only root can install; InfraError when the source cannot be had or does not build.
    """
    name = built_recipe.parse(spec)
    name.for_arch(arch)
    try:
        return _Shelf(cache, arch).get(spec, name, jobs)
    except OSError as error:
        where = error.filename or cache
        raise InfraError(f"cannot build kernels in {where}: {error.strerror or error}") from error


def need_programs(toolchain: Toolchain = GCC) -> None:
    """Install what building needs and the machine lacks.

    Raises UsageError with the one command to run when only root can, InfraError when it cannot be
    done.
    """
    script = IMAGES / "setup" / "packages"
    done = subprocess.run(
        [script, toolchain.packages],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    words = done.stderr.strip().splitlines()
    last = words[-1].removeprefix("setup: ") if words else f"{script} failed"
    if done.returncode == 2:
        raise UsageError(last)
    if done.returncode:
        raise InfraError(last)


class _Shelf:
    """The built kernels of one architecture."""

    def __init__(self, cache: Path, arch: Arch) -> None:
        self._root = cache / "built" / arch.name
        self._work = cache / "build"
        self._sources = SourceShelf(cache, arch)
        self._arch = arch

    def get(self, spec: str, name: Name, jobs: int) -> BuiltKernel:
        need_programs(name.toolchain)
        tools = name.toolchain.versions(self._arch)
        version = self._sources.version(name.version)
        recipe = built_recipe.make(name, self._arch, version, tools)
        entry = self._root / f"{recipe.source}{recipe.suffix}-{recipe.key[:12]}"
        if known := self._entry(entry):
            return known
        pristine = self._sources.tree(recipe.source)
        # One build at a time: each uses all CPUs.
        with store.locked(self._work / ".lock", f"it builds a kernel in {self._work}"):
            if known := self._entry(entry):
                return known
            place = self._work / f"{recipe.source}-{recipe.arch}-{recipe.work_key[:12]}"
            shop = Workshop(place, self._arch, jobs or os.cpu_count() or 1, name.toolchain)
            self._build(spec, recipe, pristine, entry, shop)
        made = self._entry(entry)
        if made is None:
            raise InfraError(f"{entry} changes while it is written: try again")
        return BuiltKernel(made.path, made.about, fresh=True)

    def _entry(self, entry: Path) -> BuiltKernel | None:
        about = store.whole(entry)
        if about is None:
            return None
        _, image = built_make.TARGETS[self._arch.name]
        return BuiltKernel(entry / image, about, fresh=False)

    def _build(
        self, spec: str, recipe: Recipe, pristine: Path, entry: Path, shop: Workshop
    ) -> None:
        what = f"{spec} {recipe.arch}"
        # Edits that do not match are told of before anything is built.
        changed = built_edits.apply(recipe.edits, built_edits.reader(pristine))
        start = time.monotonic()
        shop.link_source(pristine)
        shop.edit(pristine, changed)
        unknown = self._configure(shop, recipe, what)
        print(f"building {what} in {shop.path}", file=sys.stderr, flush=True)
        shop.build(recipe.suffix, what)
        about = {
            "spec": spec,
            "source": f"linux-source {recipe.source}",
            "arch": recipe.arch,
            "key": recipe.key,
            "edits": [edit.why for edit in recipe.edits],
            "unknown_options": list(unknown),
            "tools": list(recipe.tools),
            "seconds": round(time.monotonic() - start, 1),
        }
        self._keep(shop, entry, about)

    def _configure(self, shop: Workshop, recipe: Recipe, what: str) -> tuple[str, ...]:
        """Configure; the options that this kernel does not have."""
        text = shop.configure(built_config.render(recipe.config))
        directory, _ = built_make.TARGETS[recipe.arch]
        known = built_config.known_options(shop.source, directory)
        verified = built_config.verify(recipe.config, built_config.parse(text), known)
        for option in verified.unknown:
            print(f"{what}: this kernel has no {option}", file=sys.stderr, flush=True)
        if verified.dropped:
            raise InfraError(
                f"{what}: Kconfig did not take {'; '.join(verified.dropped)}; correct the "
                "fragments in images/kernel or images/variants"
            )
        return verified.unknown

    def _keep(self, shop: Workshop, entry: Path, about: dict[str, Any]) -> None:
        self._root.mkdir(parents=True, exist_ok=True)
        for left_by_a_killed_process in self._root.glob(".keep-*"):
            shutil.rmtree(left_by_a_killed_process)
        files = {
            shop.image: shop.image.name,
            shop.objects / "System.map": "System.map",
            shop.objects / ".config": "config",
        }
        with TemporaryDirectory(dir=self._root, prefix=".keep-") as name:
            for file, kept in files.items():
                shutil.copyfile(file, Path(name) / kept)
            sizes = {file.name: file.stat().st_size for file in Path(name).iterdir()}
            store.seal(Path(name), entry, {**about, "bytes": sizes})
