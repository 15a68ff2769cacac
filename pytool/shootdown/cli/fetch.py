"""shootdown fetch: download kernels and learn their symbols, ahead of a run"""

from __future__ import annotations

import argparse
import time

from shootdown import arch
from shootdown.cli import given, options
from shootdown.kernel import facts, tree
from shootdown.kernel.cache import cache_root
from shootdown.run import ask, source


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "kernels",
        nargs="*",
        default=[options.DEFAULT.kernel],
        metavar="SPEC",
        help="debian:VERSION, built:VERSION, an image or a build tree "
        f"(default: {options.DEFAULT.kernel})",
    )
    parser.add_argument("--arch", default="all", help=f"{', '.join(arch.names())} or all")
    parser.add_argument(
        "--boot",
        action="store_true",
        help="boot each kernel once and read its /proc/kallsyms, for want of other symbols",
    )
    options.add_json(parser)


def execute(args: argparse.Namespace) -> int:
    """Fetch each kernel for each architecture and print where it is."""
    names = arch.names() if args.arch == "all" else (args.arch,)
    found = []
    for spec in args.kernels:
        for name in names:
            start = time.monotonic()
            image = source.image(spec, arch.get(name), cache_root())
            if args.boot:
                ask.kallsyms(tree.locate(image, cache_root()).image, cache_root())
            known = facts.load(image, cache_root())
            given.progress()(f"{spec} {name}: ready in {time.monotonic() - start:.1f} s")
            entry = {"spec": spec, "arch": known.arch, "release": known.release}
            found.append(entry | {"build_id": known.build_id, "image": str(image)})
    text = "".join(
        f"{f['arch']} {f['release']} {f['build_id'] or '-'} {f['image']}\n" for f in found
    )
    given.emit(args, found, text)
    return 0
