"""Which of Debian's cloud kernel packages a version such as 6.12 means."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cmp_to_key
from itertools import groupby, zip_longest

from shootdown.kernel.apt import Package

# linux-image-6.12-cloud-amd64 is a meta package: a kernel's version has a third part.
_NAME = (
    r"linux-(?:image|binary)-(?:unsigned-)?"
    r"(?P<release>(?P<version>\d+\.\d+[.~][0-9a-z.+~]+(?:-\d+)?)-cloud-{architecture})"
    r"(?:-unsigned)?"
)


@dataclass(frozen=True)
class Candidate:
    """A cloud kernel in a suite."""

    release: str
    """What ``uname -r`` says: 6.1.0-56-cloud-amd64."""
    version: str
    """The release without its flavour: 6.1.0-56."""
    package: Package

    def named(self, name: str) -> bool:
        """Whether ``name`` is the release, a version, or the first parts of one."""
        return any(
            text == name or (text.startswith(name) and text[len(name)] in ".+-~")
            for text in (self.release, self.version, self.package.version)
        )

    @property
    def series(self) -> str:
        """The first two parts of the version: 6.12."""
        return ".".join(re.split("[.~]", self.version)[:2])


def pattern(architecture: str) -> re.Pattern[str]:
    """Names of packages that may hold a cloud kernel for Debian's ``architecture`` (amd64)."""
    return re.compile(_NAME.format(architecture=re.escape(architecture)))


def candidates(packages: Iterable[Package], architecture: str) -> list[Candidate]:
    """One candidate a release, oldest first; packages of other names are passed over."""
    names = pattern(architecture)
    every = [
        Candidate(match["release"], match["version"], package)
        for package in packages
        if (match := names.fullmatch(package.name))
    ]
    every.sort(key=lambda candidate: candidate.release)
    releases = groupby(every, key=lambda candidate: candidate.release)
    best = [max(same, key=_preference) for _, same in releases]
    return sorted(best, key=lambda candidate: order(candidate.package.version))


def compare(left: str, right: str) -> int:
    """-1, 0 or 1 as package version ``left`` is older than, as old as or newer than ``right``.

    The rules of deb-version(7), without epochs: digits count as numbers, ``~`` comes before the end
    of the text, letters before all other signs. So 6.12~rc1-1 < 6.12-1~bpo12+1 < 6.12-1 < 6.12.1-1.
    """
    for part, other in zip(_split(left), _split(right), strict=True):
        for one, two in zip_longest(_pairs(part), _pairs(other), fillvalue=_END):
            if one != two:
                return -1 if one < two else 1
    return 0


order = cmp_to_key(compare)

_END = ((0,), 0)


def _split(version: str) -> tuple[str, str]:
    """The upstream version, and Debian's revision of it."""
    upstream, dash, revision = version.rpartition("-")
    return (upstream, revision) if dash else (revision, "")


def _pairs(text: str) -> list[tuple[tuple[int, ...], int]]:
    """The text as pairs of signs and a number, made comparable."""
    pairs = re.findall(r"(\D*)(\d*)", text)
    return [((*map(_weight, signs), 0), int(digits or 0)) for signs, digits in pairs]


def _weight(sign: str) -> int:
    if sign == "~":
        return -1
    return ord(sign) if sign.isalpha() else ord(sign) + 256


def _preference(candidate: Candidate) -> tuple[object, ...]:
    # Where there is a linux-binary-*, it has the image and linux-image-* of the same release is
    # empty. The unsigned package is the same kernel, and often in a suite before the signed one.
    name = candidate.package.name
    return (
        name.startswith("linux-binary-"),
        "unsigned" not in name,
        order(candidate.package.version),
    )
