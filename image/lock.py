"""Exact package versions: `image/<arch>.lock`, and what apt would install beside it.

A lock file holds one package a line (name, version, SHA-256 of the .deb) and the
date every file of the image carries. apt is asked for a *plan* first, with the locked
versions pinned: that takes seconds and says before any long work which packages
moved, because mirrors drop old versions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from image.mirror import Mirror
from image.run import die, run

DEFAULT_EPOCH = 1_767_225_600  # 2026-01-01, for a host whose architecture has no lock yet
# apt counts itself as essential; a read-only system can do without.
ESSENTIAL = "?and(?essential,?not(?name(^apt$)))"
EPOCH_LINE = re.compile(r"^epoch (\d+)$")


@dataclass(frozen=True, slots=True)
class Package:
    """One .deb: `arch` is the package's own (`all` or the machine's)."""

    name: str
    version: str
    sha256: str
    arch: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class Lock:
    """The content of a lock file; `epoch` is in seconds since 1970."""

    epoch: int = DEFAULT_EPOCH
    packages: tuple[Package, ...] = ()


@dataclass(frozen=True, slots=True)
class Moved:
    """A package whose planned version is not the locked one; empty means absent."""

    name: str
    locked: str
    planned: str

    def __str__(self) -> str:
        if not self.locked:
            return f"{self.name} {self.planned} (not in the lock file)"
        if not self.planned:
            return f"{self.name} {self.locked} (no longer needed)"
        return f"{self.name} {self.locked} -> {self.planned}"


@dataclass(frozen=True, slots=True)
class Request:
    """What to plan for: an architecture, packages, and where they come from.

    `loaded_only` are packages whose .deb is wanted, but not installed.
    """

    arch: str
    packages: tuple[str, ...]
    mirror: Mirror
    apt_options: tuple[str, ...] = ()
    loaded_only: tuple[str, ...] = ()


def read(path: Path) -> Lock:
    """A lock file; a missing one is an empty lock."""
    if not path.exists():
        return Lock()
    epoch, packages = DEFAULT_EPOCH, []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        words = line.split("#")[0].split()
        if len(words) == 3:
            packages.append(Package(*words))
        elif found := EPOCH_LINE.match(line):
            epoch = int(found.group(1))
        elif words:
            die(f"{path}:{number}: not a lock line: {line!r}", "make relock writes the file anew")
    return Lock(epoch, tuple(packages))


def write(path: Path, lock: Lock) -> None:
    """Write a lock file, sorted by name."""
    head = [
        "# Package, version and SHA-256 of its .deb. `make relock` writes this file.",
        "# `epoch` is the date of every file on the image, in seconds since 1970.",
        f"epoch {lock.epoch}",
    ]
    lines = [f"{p.name} {p.version} {p.sha256}" for p in sorted(lock.packages, key=_by_name)]
    path.write_text("\n".join([*head, *lines]) + "\n")


def moved(lock: Lock, plan: Iterable[Package]) -> list[Moved]:
    """Every difference between what is locked and what would be installed.

    The same version with another checksum counts: then it is not the same .deb.
    """
    locked = {p.name: p for p in lock.packages}
    planned = {p.name: p for p in plan}
    out = []
    for name in sorted(locked.keys() | planned.keys()):
        old, new = locked.get(name), planned.get(name)
        if old and new and (old.version, old.sha256) == (new.version, new.sha256):
            continue
        out.append(Moved(name, old.version if old else "", new.version if new else ""))
    return out


def pins(packages: Iterable[Package]) -> str:
    """apt preferences that hold each package at its version, if that still exists."""
    return "\n".join(
        f"Package: {p.name}\nPin: version {p.version}\nPin-Priority: 1001\n" for p in packages
    )


def plan(request: Request, lock: Lock, state: Path) -> tuple[Package, ...]:
    """What apt would install, with checksums; `state` is a folder apt may write to.

    Needs the mirror (indexes only, no package is loaded).
    """
    _prepare(request, lock, state)
    apt = ["apt-get", "-c", str(state / "apt.conf"), "-q"]
    hint = (
        "is the mirror reachable, and right? MIRROR=http://.../debian chooses another"
        " (and MIRROR_SECURITY= if its security archive is elsewhere)"
    )
    out = run([*apt, "update", "--error-on=any"], hint=hint)
    if "Err:" in out:
        die(f"the mirror did not answer as it should:\n{out}", hint)
    wanted = [ESSENTIAL, *request.packages]
    out = run([*apt, "install", "--print-uris", "-y", "--no-install-recommends", *wanted])
    if request.loaded_only:
        out += run([*apt, "download", "--print-uris", *request.loaded_only])
    packages = tuple(sorted(_uris(out), key=_by_name))
    if not packages:
        die(f"apt planned nothing:\n{out}")
    return packages


def _prepare(request: Request, lock: Lock, state: Path) -> None:
    for folder in ("lists/partial", "archives/partial", "preferences.d"):
        (state / folder).mkdir(parents=True, exist_ok=True)
    (state / "status").write_text("")
    (state / "sources.list").write_text("\n".join(request.mirror.sources()) + "\n")
    (state / "preferences").write_text(pins(lock.packages))
    options = [
        f'Dir::State "{state}";',
        f'Dir::State::lists "{state}/lists";',
        f'Dir::State::status "{state}/status";',
        f'Dir::Cache "{state}";',
        f'Dir::Etc::sourcelist "{state}/sources.list";',
        'Dir::Etc::sourceparts "/dev/null";',
        f'Dir::Etc::preferences "{state}/preferences";',
        f'Dir::Etc::preferencesparts "{state}/preferences.d";',
        f'APT::Architecture "{request.arch}";',
        f'APT::Architectures {{ "{request.arch}"; }};',
        'APT::Sandbox::User "root";',
        'APT::Get::List-Cleanup "false";',
        'Acquire::Languages "none";',
        'Acquire::ForceHash "sha256";',
        'Acquire::Retries "2";',
        'Acquire::http::Timeout "20";',
        *request.apt_options,
    ]
    (state / "apt.conf").write_text("\n".join(options) + "\n")


def _uris(text: str) -> list[Package]:
    """Packages from `--print-uris` lines: 'URL' file size SHA256:sum."""
    line = re.compile(
        r"^'(?P<url>[^']+)' (?P<file>\S+)_(?P<arch>\w+)\.deb \d+ SHA256:(?P<sum>\w+)$"
    )
    found = (line.match(row) for row in text.splitlines())
    return [_package(match) for match in found if match]


def _package(match: re.Match[str]) -> Package:
    name, _, version = match["file"].partition("_")
    return Package(name, unquote(version), match["sum"], match["arch"], match["url"])


def check_strict(changes: Sequence[Moved], path: Path) -> None:
    """With LOCKED=1 any difference to the lock file ends the build."""
    if changes:
        rows = "\n".join(f"  {change}" for change in changes)
        die(
            f"LOCKED=1, and {len(changes)} packages are not as {path} says:\n{rows}",
            "build without LOCKED=1, or renew the lock file: make relock",
        )


def _by_name(package: Package) -> str:
    return package.name
