"""``python -m shootdown.compiled``: build the extension modules of the checker."""

from __future__ import annotations

import argparse
import sys

from shootdown.compiled.build import build
from shootdown.errors import ShootdownError


def main() -> int:
    """Build; returns the exit code."""
    parser = argparse.ArgumentParser(prog="shootdown.compiled", description=__doc__)
    parser.add_argument(
        "--if-possible", action="store_true", help="exit code 0, too, where it cannot be done"
    )
    options = parser.parse_args()
    try:
        build(lambda text: print(f"shootdown: {text}", file=sys.stderr))
    except ShootdownError as error:
        print(f"shootdown: {error}", file=sys.stderr)
        return 0 if options.if_possible else int(error.exit_code)
    return 0


if __name__ == "__main__":
    sys.exit(main())
