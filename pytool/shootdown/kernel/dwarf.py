"""Structure layouts from a vmlinux's debugging information (DWARF), as gdb understands it.

For kernels without BTF. gdb reads every version and form of DWARF that gcc and clang write, packed,
split and relocated; it takes seconds, so all that is wanted is asked at once and the answers kept.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from shootdown.errors import InfraError
from shootdown.kernel.btf import Member

_GDB: Final = "gdb-multiarch"
# The file is not to be trusted: nothing that it names is run, and nobody is asked about it.
_QUIET: Final = ("-q", "-nx", "-iex", "set auto-load off", "-iex", "set debuginfod enabled off")
_SECONDS: Final = 900
_PATH: Final = re.compile(r"\w+(\.\w+)*", re.ASCII)
_ANSWER: Final = re.compile(r"^(?:\(gdb\) )*answer (\d+) (-?\d+) (-?\d+)$", re.MULTILINE)
_ENUM: Final = re.compile(r"type = enum \w+ [^{]*\{([^}]*)\}")


class Dwarf:
    """The types of a kernel, read from its vmlinux."""

    def __init__(self, vmlinux: Path) -> None:
        """``vmlinux``: an ELF file with debugging information."""
        self._file = vmlinux
        self._members: dict[str, Member | None] = {}
        self._constants: dict[str, int | None] = {}

    def look_up(
        self, members: Iterable[str], constants: Iterable[str] = ()
    ) -> tuple[dict[str, Member], dict[str, int]]:
        """Those of ``struct.member`` and of ``enum.NAME`` that the kernel has.

        ``.NAME`` is an enumerator of an enumeration without a name. Raises InfraError when gdb is
        missing or cannot read the file.
        """
        members, constants = list(members), list(constants)
        new = [path for path in members if path not in self._members]
        more = [path for path in constants if path not in self._constants]
        questions = [*map(_where, new), *map(_value, more)]
        answers = self._ask(questions) if questions else {}
        for number, path in enumerate(new):
            self._members[path] = Member(*answers[number]) if number in answers else None
        for number, path in enumerate(more, len(new)):
            self._constants[path] = answers[number][0] if number in answers else None
        return (
            {path: found for path in members if (found := self._members[path]) is not None},
            {path: value for path in constants if (value := self._constants[path]) is not None},
        )

    def member(self, path: str) -> Member:
        """Where ``struct.member.member`` lies. Raises InfraError when it has no place in bytes."""
        found, _ = self.look_up([path])
        if path not in found:
            raise InfraError(f"The debugging information of {self._file} has no '{path}'.")
        return found[path]

    def has(self, path: str) -> bool:
        """Whether ``member`` would find it."""
        return path in self.look_up([path])[0]

    def size(self, name: str) -> int:
        """Bytes of the structure of that name. Raises InfraError when there is none."""
        return self.member(name).size

    def enum(self, name: str) -> dict[str, int]:
        """Values of an enumeration by name. Raises InfraError when there is none of that name."""
        match = _ENUM.search(self._run([f"ptype enum {_checked(name)}"]))
        if match is None:
            raise InfraError(f"The debugging information of {self._file} has no enum '{name}'.")
        values: dict[str, int] = {}
        following = 0
        for item in filter(None, (part.strip() for part in match[1].split(","))):
            text, _, value = item.partition(" = ")
            values[text] = int(value) if value else following
            following = values[text] + 1
        return values

    def _ask(self, questions: list[tuple[str, str]]) -> dict[int, tuple[int, int]]:
        """The two numbers that each question is for, by its place; none where gdb has no answer."""
        lines = [
            f'printf "answer {number} %ld %ld\\n", (long)({one}), (long)({two})'
            for number, (one, two) in enumerate(questions)
        ]
        said = self._run(lines)
        return {int(found[1]): (int(found[2]), int(found[3])) for found in _ANSWER.finditer(said)}

    def _run(self, commands: list[str]) -> str:
        gdb = shutil.which(_GDB)
        if gdb is None:
            raise InfraError(f"{_GDB} is missing, which reads {self._file}; install gdb-multiarch.")
        # gdb goes on after a command that fails only when it reads them from its standard input.
        text = "\n".join(["set width 0", "set language c", *commands, 'printf "the end\\n"', ""])
        try:
            done = subprocess.run(
                [gdb, *_QUIET, str(self._file)],
                input=text,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise InfraError(f"gdb could not read {self._file}: {error}") from error
        if "the end" not in done.stdout:
            said = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
            raise InfraError(f"gdb could not read {self._file}: {said}")
        return done.stdout


def _checked(path: str) -> str:
    if not _PATH.fullmatch(path):
        raise InfraError(f"{path!r} is no name of a structure's member.")
    return path


def _where(path: str) -> tuple[str, str]:
    """Expressions for offset and size."""
    structure, _, member = _checked(path).partition(".")
    if not member:
        return "0", f"sizeof(struct {structure})"
    place = f"((struct {structure} *)0)->{member}"
    return f"&{place}", f"sizeof({place})"


def _value(path: str) -> tuple[str, str]:
    enum, _, name = _checked(path.removeprefix(".")).partition(".")
    return (f"(enum {enum}){name}" if name else enum), "0"
