"""``python -m shootdown.compiled.run MODULE ARGUMENTS``: a module as a program, checker compiled.

For processes that import the checker in their first lines.
"""

from __future__ import annotations

import runpy
import sys

from shootdown.compiled.finder import use

if __name__ == "__main__":
    use()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
