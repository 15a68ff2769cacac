"""What is to be run, as a value and as a file.

The file (``plan.toml``) is written before the run starts, so that a run that dies can be
repeated: ``shootdown run --plan DIR/plan.toml``.
"""

from __future__ import annotations

import difflib
import json
import re
import shlex
import tomllib
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

from shootdown.errors import UsageError
from shootdown.kernel import groups

SCHEMA: Final = 1
POLICIES: Final = ("wilcox", "glisse")
THREADS: Final = ("multi", "single")
SNAPSHOTS: Final = ("auto", "off")

# Races want many attempts. Others repeat the same long and thorough walk.
_RACES: Final = 200
_OPTION: Final = re.compile(r"[a-z_]+=[0-9]+")
_ITERATIONS: Final = {"counting": 4, "churn": 50, "collapse": 20, "ksm": 10, "direct": 50}


@dataclass(frozen=True)
class Experiment:
    """One recording: which kernel, which workloads, under which conditions."""

    arch: str
    kernel: str = "debian:6.12"
    """``debian:VERSION``, ``built:VERSION``, an image, or a kernel build tree."""
    workloads: str = "*"
    """Shell pattern of workload names; unused when ``command`` is given."""
    command: tuple[str, ...] = ()
    """A static program of the host and its arguments, run instead of workloads."""
    load: str = ""
    """Load of the distribution's that runs instead of workloads, ``stress-ng:NAME[,NAME...]``."""
    seconds: int = 20
    """How long each load runs, seconds of the guest's clock."""
    rootfs: str = ""
    """Directory whose files are added to the guest's root, or empty."""
    iterations: int = 0
    """Iterations of every workload; 0 leaves the number to each (``iterations_of``)."""
    profile: str = ""
    """Profiles of the guest (``arch.profiles``), with commas between; empty is the default."""
    seed: int = 1
    smp: int = 3
    """vCPUs."""
    mem: int = 512
    """MiB of guest RAM."""
    swap: int = 0
    """MiB of swap, on a disk of its own; 0 is what the load needs, if it needs any."""
    disk: int = 0
    """MiB of a disk without content that is the workload's alone; 0 is none."""
    options: str = ""
    """Of the workloads: ``KEY=VALUE``, with commas between."""
    thread: str = "multi"
    """TCG threads: ``multi`` (one per vCPU) or ``single`` (round robin)."""
    deterministic: bool = False
    """Whether everything that happens to the guest is decided by this experiment alone."""
    timeout: int = 300
    """Seconds for each workload; the boot has as many, and five minutes at least."""
    events: str = ""
    """Groups of events to record, with commas between (``kernel.groups``); empty is default."""
    policy: str = "wilcox"
    """``wilcox``: aliases are tolerated until the system call returns; ``glisse``: never."""
    bbm: int = 0
    """Level of FEAT_BBM of the CPUs that arm64's kernel is judged for."""
    mutate: str = ""
    """Change made to the kernel's text at run time, or empty."""
    inject: str = ""
    """Delays that the plugin makes: a policy (``race.policies``), a file of them, or empty."""
    plugin: bool = True
    """Whether the plugin records; without it nothing can be checked."""
    snapshot: str = "off"
    """``auto``: start from a saved guest, which is made when there is none; ``off``: boot."""
    append: str = ""
    """Extra kernel arguments."""
    test_drop_store: int = 0
    """Tests of the tool itself: lose this page-table store, counted from 1; 0 loses none."""
    test_delay_us: int = 0
    """Tests of the tool itself: sleep up to so many us between an access and its number."""

    def __post_init__(self) -> None:
        for text in (
            *(
                self.kernel,
                self.workloads,
                self.load,
                self.rootfs,
                self.profile,
                self.append,
                self.inject,
                self.options,
            ),
            *self.command,
        ):
            if not text.isprintable() and any("\ud800" <= c <= "\udfff" for c in text):
                raise UsageError(f"{text!a} is not UTF-8; rename it")
        groups.named(self.events)
        for word in filter(None, self.options.split(",")):
            if not _OPTION.fullmatch(word):
                raise UsageError(f"an option of a workload is KEY=VALUE, not {word!r}")
        _one_of("policy", self.policy, POLICIES)
        _one_of("thread", self.thread, THREADS)
        _one_of("snapshot", self.snapshot, SNAPSHOTS)
        for name, low, high in (
            ("iterations", 0, 10**9),
            ("seed", 0, 2**64 - 1),
            ("smp", 1, 255),
            ("mem", 64, 1 << 20),
            ("swap", 0, 1 << 16),
            ("disk", 0, 1 << 16),
            ("timeout", 1, 10**6),
            ("bbm", 0, 2),
            ("seconds", 1, 10**5),
            ("test_drop_store", 0, 2**63),
            ("test_delay_us", 0, 10**6),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise UsageError(f"{name} is {value}; it must lie between {low} and {high}")

    def iterations_of(self, workload: str) -> int:
        """How often the workload runs its race."""
        return self.iterations or _ITERATIONS.get(workload, _RACES)

    def options_of(self) -> dict[str, str]:
        """Options of the workloads, by name."""
        words = (word.partition("=") for word in self.options.split(",") if word)
        return {key: value for key, _, value in words}

    def to_toml(self) -> str:
        """The experiment as TOML, one field a line."""
        lines = ["# shootdown experiment; run it again: shootdown run --plan THIS_FILE"]
        lines += [f"schema = {SCHEMA}"]
        lines += [f"{key} = {toml_value(value)}" for key, value in asdict(self).items()]
        return "\n".join(lines) + "\n"

    def command_line(self) -> str:
        """The one line that repeats the experiment: only what differs from the defaults."""
        words = ["shootdown run", f"--arch {self.arch}"]
        default = Experiment(self.arch)
        for field in fields(self):
            value = getattr(self, field.name)
            if value == getattr(default, field.name) or field.name in ("command", "plugin"):
                continue
            if value is True:
                words.append(f"--{field.name}")
                continue
            option = {"workloads": "workload"}.get(field.name, field.name.replace("_", "-"))
            words.append(f"--{option} {shlex.quote(str(value))}")
        if not self.plugin:
            words.append("--no-plugin")
        if self.command:
            words.append("-- " + " ".join(shlex.quote(word) for word in self.command))
        return " ".join(words)


def load(path: Path) -> Experiment:
    """Read an experiment; raises UsageError that names the file and the key at fault."""
    try:
        table = tomllib.loads(path.read_text())
    except OSError as e:
        raise UsageError(f"plan {path} cannot be read: {e.strerror}") from e
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise UsageError(f"plan {path} is not TOML: {e}") from e
    schema = table.pop("schema", None)
    if schema != SCHEMA:
        raise UsageError(f"plan {path} has schema {schema}; this shootdown reads {SCHEMA}")
    try:
        return of_table(table)
    except UsageError as e:
        raise UsageError(f"plan {path}: {e}") from e


def of_table(table: dict[str, Any]) -> Experiment:
    """The experiment whose fields a table gives; raises UsageError that names the key at fault."""
    types = {field.name: type(getattr(Experiment(""), field.name)) for field in fields(Experiment)}
    for key, value in table.items():
        if key not in types:
            raise UsageError(f"unknown key {key}{nearest(key, list(types))}")
        if isinstance(value, list) and all(isinstance(word, str) for word in value):
            table[key] = tuple(value)
        if type(table[key]) is not types[key]:
            raise UsageError(f"{key} must be {types[key].__name__}, not {value!r}")
    if "arch" not in table:
        raise UsageError("key arch is missing")
    return Experiment(**table)


def nearest(word: str, known: list[str]) -> str:
    """A hint for a misspelt word: "; did you mean X?", or all that is known."""
    close = difflib.get_close_matches(word, known, n=2, cutoff=0.5)
    if close:
        return f"; did you mean {' or '.join(close)}?"
    return f"; known are {', '.join(known)}" if known else ""


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UsageError(f"unknown {name} {value!r}{nearest(value, [k for k in known if k])}")


def toml_value(value: object) -> str:
    """A field's value as TOML writes it."""
    # JSON's strings, integers and booleans are TOML's too, but for one character: JSON leaves DEL.
    if isinstance(value, tuple):
        return "[" + ", ".join(toml_value(word) for word in value) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
