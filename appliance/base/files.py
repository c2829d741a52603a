"""The one door to files that must survive a power cut.

A name is durable only when the file and its folder have been flushed: a rename
without the folder's fsync was seen to lose files on plain POSIX rules.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path


def fsync_directory(path: Path) -> None:
    """Make the names in folder `path` durable. An error is final: the caller must not retry."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def replace_file(
    path: Path,
    data: bytes,
    *,
    mode: int = 0o644,
    owner: str | int | None = None,
    group: str | int | None = None,
) -> None:
    """Put `data` at `path` so that a reader, now or after a power cut, sees all old or all new.

    The temporary file lies in the same folder and never has wider rights than `mode`.
    Raises OSError; the old file is then untouched and the temporary one is gone.
    """
    fd, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    temporary = Path(name)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            if owner is not None:
                shutil.chown(temporary, user=owner)
            if group is not None:
                shutil.chown(temporary, group=group)
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        raise
    fsync_directory(path.parent)


def remove_file(path: Path) -> bool:
    """Remove `path` durably; False when it was not there."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    fsync_directory(path.parent)
    return True
