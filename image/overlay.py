"""Files of this repository on their way into a tree, without the accidents of a checkout.

Umask, owner, dates and stray caches of the working folder must not show on the image:
every file becomes root's, 0644 or 0755, with the image's one date.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

SKIPPED = ("__pycache__", ".git", ".gitignore", ".mypy_cache", ".ruff_cache", ".pytest_cache")


@dataclass(frozen=True, slots=True)
class Overlay:
    """Folders and their places in the tree, and small files made by the build."""

    folders: tuple[tuple[Path, str], ...]
    extra: tuple[tuple[str, bytes], ...] = field(default=())

    def digest(self) -> str:
        """Names the content: paths, bytes, executable bits, links."""
        digest = hashlib.sha256()
        for info, data in self._members(0):
            digest.update(f"{info.name}\0{info.mode}\0{info.linkname}\0{len(data)}\0".encode())
            digest.update(data)
        return digest.hexdigest()

    def write_tar(self, path: Path, epoch: int) -> None:
        """Write everything as a tar archive; `epoch` is its date in seconds since 1970."""
        with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
            for info, data in self._members(epoch):
                archive.addfile(info, io.BytesIO(data) if info.isreg() else None)

    def _members(self, epoch: int) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
        found: dict[str, Path | bytes] = dict(self.extra)
        for folder, place in self.folders:
            for file in walk(folder):
                found[str(PurePosixPath(place) / file.relative_to(folder).as_posix())] = file
        made: set[str] = set()
        for name in sorted(found):
            for parent in reversed(PurePosixPath(name).parents):
                if str(parent) not in (".", "/", *made):
                    made.add(str(parent))
                    yield _directory(str(parent), epoch), b""
            yield _member(name, found[name], epoch)


def walk(folder: Path) -> Iterator[Path]:
    """Every file and link below `folder` that belongs on an image, sorted."""
    for root, dirs, files in os.walk(folder):
        links = [name for name in dirs if (Path(root) / name).is_symlink()]
        dirs[:] = sorted(d for d in dirs if d not in SKIPPED and d not in links)
        for name in sorted([*files, *links]):
            if name not in SKIPPED and not name.endswith((".pyc", "~", ".swp")):
                yield Path(root) / name


def _directory(name: str, epoch: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name.lstrip("/"))
    info.type, info.mode, info.mtime = tarfile.DIRTYPE, 0o755, epoch
    return info


def _member(name: str, source: Path | bytes, epoch: int) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name.lstrip("/"))
    info.mtime = epoch
    if isinstance(source, Path) and source.is_symlink():
        info.type, info.linkname, info.mode = tarfile.SYMTYPE, str(source.readlink()), 0o777
        return info, b""
    executable = isinstance(source, Path) and bool(source.stat().st_mode & 0o100)
    data = source.read_bytes() if isinstance(source, Path) else source
    info.mode, info.size = 0o755 if executable else 0o644, len(data)
    return info, data
