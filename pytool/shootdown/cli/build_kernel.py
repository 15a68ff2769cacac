"""shootdown build-kernel: build kernels from the distribution's source, with variants

A name is built:VERSION, or built:VERSION+VARIANT[+VARIANT...]. What is in the cache is not built
again; the same names work wherever --kernel is taken.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any, Final

from shootdown import arch
from shootdown.cli import given, options
from shootdown.errors import InfraError
from shootdown.kernel import built, built_recipe
from shootdown.kernel import cache as store

DEFAULT: Final = ("built:6.12", "built:7.2")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "kernels",
        nargs="*",
        metavar="NAME",
        help=f"built:VERSION[+VARIANT...] (default: {' '.join(DEFAULT)})",
    )
    parser.add_argument(
        "--arch", default="all", help=f"{', '.join(arch.names())} or all (default: all it is for)"
    )
    parser.add_argument(
        "--jobs",
        type=options.number,
        default=0,
        metavar="N",
        help="programs that make runs at once (default: one for each CPU)",
    )
    parser.add_argument("--list", action="store_true", help="print the variants and stop")
    parser.add_argument(
        "--clean",
        action="store_true",
        help="remove sources and working directories from the cache; built kernels stay",
    )
    options.add_json(parser)


def execute(args: argparse.Namespace) -> int:
    """Build each kernel for each architecture, one after another, and print where it is."""
    if args.list:
        return _list(args)
    if args.clean:
        return _clean(store.cache_root())
    wanted = [(spec, name) for spec in args.kernels or DEFAULT for name in _archs(spec, args.arch)]
    entries: list[dict[str, Any]] = []
    lines = []
    for spec, name in wanted:
        kernel = built.resolve(spec, arch.get(name), store.cache_root(), jobs=args.jobs)
        how = f"built in {kernel.about['seconds']:.0f} s" if kernel.fresh else "in the cache"
        print(f"{spec} {name}: {how}", file=sys.stderr, flush=True)
        entries.append({"image": str(kernel.path), "fresh": kernel.fresh, **kernel.about})
        lines.append(f"{name} {spec} {kernel.path}\n")
    given.emit(args, entries, "".join(lines))
    return 0


def _archs(spec: str, asked: str) -> tuple[str, ...]:
    """The architectures to build for: the one asked for, or all that every variant is for."""
    name = built.validate(spec)
    return name.archs if asked == "all" else (arch.get(asked).name,)


def _list(args: argparse.Namespace) -> int:
    found = [built_recipe.load(name) for name in built_recipe.variants()]
    entries = [
        {"name": v.name, "archs": list(v.archs or arch.names()), "summary": v.summary}
        for v in found
    ]
    text = "".join(
        f"{entry['name']:20} {' '.join(entry['archs']):13} {entry['summary']}\n"
        for entry in entries
    )
    given.emit(args, entries, text)
    return 0


def _clean(cache: Path) -> int:
    try:
        with store.locked(cache / "build" / ".lock", "it builds a kernel"):
            for place in (*(cache / "build").iterdir(), *(cache / "source").glob("*/tree")):
                if place.is_dir():
                    print(f"removing {place}", file=sys.stderr, flush=True)
                    shutil.rmtree(place)
    except OSError as error:
        raise InfraError(f"Cannot remove {error.filename}: {error.strerror}.") from error
    return 0
