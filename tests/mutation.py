"""``make mutate``: change the rules and the model on purpose; every change should be noticed.

mutmut makes the mutants of ``rules/`` and ``model/`` and runs the tests that reach each; a mutant
that mypy refuses is noticed too, for ``make lint`` is part of ``make test``. All of them take a
day, so a sample is drawn, the same for the same ``--seed``. The tests are those that judge traces
as text; none boots a guest. Prints the part that was noticed with its 95 % Wilson interval, and
the change that each survivor makes; returns 1 when less than ``--least`` per cent were noticed.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

from shootdown.race.interval import shown

ROOT = Path(__file__).resolve().parents[1]
PLACE = ROOT / "build/mutation"
TESTS = ("tests/rules/test_corpus.py", "tests/rules/test_check.py", "tests/model")
NOT_JUDGING = ("rules/document.py", "model/counting/*", "model/audit.py")
CONFIG = """
[tool.mutmut]
source_paths = ["src"]
only_mutate = ["src/shootdown/rules/*", "src/shootdown/model/*"]
do_not_mutate = {exclude}
pytest_add_cli_args = ["-m", "not guest"]
pytest_add_cli_args_test_selection = {tests}
type_check_command = ["mypy", "--output", "json", "src/shootdown/rules", "src/shootdown/model"]
also_copy = ["images", "docs", "Makefile"]
use_git_change_detection = false
track_dependencies = false
timeout_multiplier = 10.0
timeout_constant = 10.0
"""
# mutmut's exit codes: pytest's own, and marks of its own.
MEANING = {0: "survived", 5: "no test", 33: "no test", 37: "refused by mypy"}
HEADS = ("+++", "---")
UNNOTICED = ("survived", "no test")


def lay_out() -> None:
    """Put a copy of the tree where mutmut wants it: the sources below ``src``."""
    shutil.rmtree(PLACE, ignore_errors=True)
    PLACE.mkdir(parents=True)
    shutil.copytree(ROOT / "pytool/shootdown", PLACE / "src/shootdown")
    for name in ("tests", "images", "docs"):
        shutil.copytree(ROOT / name, PLACE / name)
    shutil.copy(ROOT / "Makefile", PLACE)
    exclude = [f"src/shootdown/{name}" for name in NOT_JUDGING]
    config = CONFIG.format(exclude=json.dumps(exclude), tests=json.dumps(TESTS))
    text = (ROOT / "pyproject.toml").read_text() + config
    (PLACE / "pyproject.toml").write_text(text)


def mutmut(*words: str) -> str:
    """Run mutmut in the copy; its progress goes to a file beside it."""
    env = dict(os.environ, PATH=f"{ROOT / '.venv/bin'}:{os.environ['PATH']}")
    done = subprocess.run(
        ["mutmut", *words], cwd=PLACE, env=env, capture_output=True, text=True, check=False
    )
    (PLACE / "log").write_text(done.stdout + done.stderr)
    return done.stdout


def outcomes() -> dict[str, int | None]:
    """Exit codes by mutant, None for those that did not run."""
    found: dict[str, int | None] = {}
    for meta in (PLACE / "mutants").rglob("*.meta"):
        found |= json.loads(meta.read_text())["exit_code_by_key"]
    return found


def tell(sample: list[str], every: int, least: float) -> int:
    """Print the outcome; returns the exit code."""
    codes = outcomes()
    words = {name: _meaning(codes[name]) for name in sample}
    unnoticed = [name for name in sample if words[name] in UNNOTICED]
    for name in unnoticed:
        print(f"{name}: {words[name]}")
        change = mutmut("show", name).splitlines()
        print(
            "\n".join(f"  {line}" for line in change if line[:1] in "+-" and line[:3] not in HEADS)
        )
    noticed = len(sample) - len(unnoticed)
    print(f"{every} mutants, a sample of {len(sample)}: {dict(Counter(words.values()))}")
    print(f"noticed: {shown(noticed, len(sample))}")
    return int(100 * noticed < least * len(sample))


def _meaning(code: int | None) -> str:
    if code is None:
        raise SystemExit(f"mutmut ended early; see {PLACE / 'log'}")
    return MEANING.get(code, "noticed")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("-n", type=int, default=300, help="size of the sample")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--least", type=float, default=95.0, metavar="PERCENT")
    options = parser.parse_args()
    lay_out()
    mutmut("run", "no-such-mutant")  # makes the mutants, and learns which test reaches which
    names = sorted(outcomes())
    if not names:
        print(f"mutmut made no mutants; see {PLACE / 'log'}", file=sys.stderr)
        return 3
    sample = random.Random(options.seed).sample(names, min(options.n, len(names)))
    mutmut("run", "--max-children", str(options.jobs), *sample)
    return tell(sample, len(names), options.least)


if __name__ == "__main__":
    sys.exit(main())
