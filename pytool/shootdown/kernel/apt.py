"""apt with a state of its own: any suite and architecture the machine's mirror has.

The machine's apt configuration is read (mirror, proxy, credentials) and left as it is, and
nothing is installed. apt itself verifies all it fetches, against Debian's archive keyring.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from shootdown.errors import InfraError

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
HELPER = "/usr/lib/apt/apt-helper"
FRESH = 3600.0
"""Seconds for which package lists need not be read again."""

# Each on the site that carries the machine's own suites of the same kind. A suite that the mirror
# does not have is skipped.
SUITES = ("bookworm", "bookworm-backports", "trixie", "trixie-backports", "forky", "sid")
SECURITY_SUITES = ("bookworm-security", "trixie-security", "forky-security")

# The names a machine may know one of Debian's suites by.
_MAIN = re.compile(r"bookworm|trixie|forky|sid|oldoldstable|oldstable|stable|testing|unstable")
_SECURITY = re.compile(rf"({_MAIN.pattern})-security")
_INDEX = re.compile(r"^'([^']+)/dists/([^'/]+)/InRelease'", re.MULTILINE)

# What the mirror does not carry, or has stopped updating, cannot be used; the other suites can. The
# last of these is apt's summing up.
_EXPIRED = re.compile(r"^Release file for .* is expired")
_PASSED_OVER = re.compile(
    rf"{_EXPIRED.pattern}|does not have a Release file|^Some index files failed to download"
)

_DEPENDS = re.compile(r"^(?:Pre-)?Depends: (.*)$", re.MULTILINE)
_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+")

_CONFIG = """\
Dir::State "{state}";
Dir::State::lists "{state}/lists";
Dir::State::status "{state}/status";
Dir::Cache "{state}/cache";
// Container images switch these off; without them every question reads all lists anew.
Dir::Cache::pkgcache "pkgcache.bin";
Dir::Cache::srcpkgcache "srcpkgcache.bin";
Dir::Etc::sourcelist "{state}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
#clear APT::Architectures;
APT::Architecture "{architecture}";
APT::Architectures {{ "{architecture}"; }};
// The hooks of the machine are about the machine's lists.
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
// The user that apt drops to cannot reach a cache in root's home.
APT::Sandbox::User "root";
APT::Update::Error-Mode "any";
Acquire::Languages "none";
Acquire::PDiffs "false";
Acquire::Retries "2";
Acquire::http::Timeout "30";
Acquire::https::Timeout "30";
"""


@dataclass(frozen=True)
class Package:
    """A binary package in a suite."""

    name: str
    version: str
    suite: str


class PrivateApt:
    """apt for one architecture, with all its files below ``state``.

    ``architecture`` is Debian's name, "amd64". The caller keeps other processes out of ``state``.
    Raises InfraError if the machine has no apt or no Debian mirror.
    """

    def __init__(self, state: Path, architecture: str) -> None:
        if shutil.which("apt-get") is None or not KEYRING.exists():
            raise InfraError(
                "fetching a Debian kernel needs apt and the package debian-archive-keyring: "
                "install them, or give the path of a kernel"
            )
        self._state = state.absolute()
        for directory in ("lists/partial", "cache/archives/partial"):
            (self._state / directory).mkdir(parents=True, exist_ok=True)
        (self._state / "status").touch()
        config = _CONFIG.format(state=self._state, architecture=architecture)
        (self._state / "apt.conf").write_text(config)
        (self._state / "sources.list").write_text(_sources())

    def update(self, *, again: bool) -> None:
        """Read the lists of every suite that the mirror carries and keeps up to date.

        Lists of the last hour will do, unless ``again``. Raises InfraError if one cannot be read.
        """
        updated = self._state / "updated"
        if not again and updated.exists() and time.time() - updated.stat().st_mtime < FRESH:
            return
        done = self._run("apt-get", "update", shown=True)
        problems = [line[3:] for line in done.stderr.splitlines() if line[:3] in ("E: ", "W: ")]
        for problem in filter(_EXPIRED.search, problems):
            print(f"passing over a suite: {problem}", file=sys.stderr, flush=True)
        problems = [problem for problem in problems if not _PASSED_OVER.search(problem)]
        if done.returncode and problems:
            raise InfraError(f"cannot read Debian's package lists: {problems[0]}")
        updated.touch()

    def search(self, pattern: re.Pattern[str]) -> list[Package]:
        """Every version, in every suite, of the packages whose whole name matches ``pattern``."""
        names = self._run("apt-cache", "pkgnames").stdout.split()
        wanted = sorted(filter(pattern.fullmatch, names))
        return self.versions(*wanted) if wanted else []

    def versions(self, *names: str) -> list[Package]:
        """Every version, in every suite, of the packages of those names; newest first of each."""
        rows = self._run("apt-cache", "madison", *names).stdout.splitlines()
        return [_package(row) for row in rows if row.endswith(" Packages")]

    def depends(self, package: Package) -> list[str]:
        """Names of the packages that it depends on, as listed, alternatives after each other."""
        shown = self._run("apt-cache", "show", f"{package.name}={package.version}").stdout
        listed = ", ".join(_DEPENDS.findall(shown.split("\n\n")[0]))
        names = [_NAME.match(word.strip()) for word in re.split("[,|]", listed)]
        return list(dict.fromkeys(name[0] for name in names if name))

    def download(self, package: Package) -> Path:
        """Fetch the package's file, verified by the hash in its signed list.

        A download that was interrupted is taken up where it stopped if the mirror can do that.
        Raises InfraError.
        """
        named = f"{package.name}={package.version}"
        line = self._run("apt-get", "download", "--print-uris", named).stdout.strip()
        try:
            uri, name, size, digest = line.split()
        except ValueError:
            raise InfraError(f"apt does not say where {named} is: {line!r}") from None
        target = self._state / "cache" / name
        print(f"fetching {named} ({int(size) / 1e6:.1f} MB)", file=sys.stderr, flush=True)
        done = self._run(HELPER, "download-file", uri.strip("'"), str(target), digest, shown=True)
        if done.returncode:
            raise InfraError(f"cannot fetch {named}: {_last_problem(done.stderr)}")
        return target

    def _run(
        self, program: str, *args: str, shown: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Run one of apt's programs; ``shown``: a terminal, if there is one, shows its progress."""
        terminal = shown and sys.stderr.isatty()
        return subprocess.run(
            [program, "-c", str(self._state / "apt.conf"), *args],
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr if terminal else subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "LC_ALL": "C", "LANGUAGE": ""},
            text=True,
            errors="replace",
            check=False,
        )


def _sources() -> str:
    """The contents of a sources.list with every suite, from the machine's own mirror."""
    sites = _debian_sites()
    main, security = (_first(sites, suite) for suite in (_MAIN, _SECURITY))
    if main is None:
        raise InfraError(
            "apt on this machine knows no Debian mirror: add one, or give the path of a kernel"
        )
    wanted = [(main, suite) for suite in SUITES]
    wanted += [(security, suite) for suite in SECURITY_SUITES if security]
    # Only the package lists: other tools may have asked apt for file lists and icons as well.
    options = f"[signed-by={KEYRING} target=Packages]"
    return "".join(f"deb {options} {site} {suite} main\n" for site, suite in wanted)


def _debian_sites() -> list[tuple[str, str]]:
    """(site, suite) of Debian's suites that the machine's apt has; asks no network.

    Third parties call their suites by Debian's names too. A list that has been read says whose it
    is; where none has been, every site that apt is configured for has to do.
    """
    read = _apt_get("indextargets", "--format", "$(SITE) $(RELEASE) $(ORIGIN)")
    known = [line.split(" ", 2) for line in read.splitlines()]
    sites = [(site, suite) for site, suite, origin in known if origin == "Debian"]
    return sites or _INDEX.findall(_apt_get("update", "--print-uris"))


def _apt_get(*args: str) -> str:
    """What the machine's own apt-get prints."""
    return subprocess.run(
        ["apt-get", *args], capture_output=True, text=True, errors="replace", check=False
    ).stdout


def _first(sites: list[tuple[str, str]], suite: re.Pattern[str]) -> str | None:
    """The first site with a matching suite."""
    matching = (site for site, name in sites if suite.fullmatch(name))
    return next((site for site in matching if not site.startswith("cdrom:")), None)


def _package(row: str) -> Package:
    """A row of ``apt-cache madison``: ``name | version | site suite/component arch Packages``."""
    name, version, source = (column.strip() for column in row.split("|"))
    return Package(name, version, source.split()[1].split("/")[0])


def _last_problem(stderr: str) -> str:
    problems = [line[3:] for line in stderr.splitlines() if line.startswith("E: ")]
    return problems[0] if problems else "apt gave no reason"
