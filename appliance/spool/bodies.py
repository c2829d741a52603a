"""Bodies too large for the database: one file each, written while the message arrives.

    bodies/<queue id>.part     being received
    bodies/<queue id>.body     complete, flushed, named; a row refers to it

Order at acceptance: flush the file, rename it, flush the folder, commit the row. A crash
anywhere leaves a file without a row, which `orphans` finds at the next start. Only names of our
own pattern are ever removed.
"""

import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from appliance.base.files import fsync_directory

_OURS = re.compile(r"[0-9A-Z]{6,32}\.(?:part|body)\Z")
READ_BLOCK_BYTES = 131_072


class Disk(Protocol):
    """The flushes that durability rests on; a test hands in one that fails."""

    def flush_file(self, descriptor: int) -> None:
        """Put a file's content on stable storage. Raises OSError."""
        ...

    def flush_folder(self, path: Path) -> None:
        """Put a folder's names on stable storage. Raises OSError."""
        ...

    def free_bytes(self, path: Path) -> int:
        """Room that we may use on the file system of `path`."""
        ...

    def before_commit(self) -> None:
        """Called before each commit of the database. Raises OSError to make it fail."""
        ...


class RealDisk:
    """The disk as it is."""

    def flush_file(self, descriptor: int) -> None:
        os.fsync(descriptor)

    def flush_folder(self, path: Path) -> None:
        fsync_directory(path)

    def free_bytes(self, path: Path) -> int:
        found = os.statvfs(path)
        return found.f_bavail * found.f_frsize

    def before_commit(self) -> None:
        """SQLite flushes by itself (synchronous=FULL)."""


@dataclass(slots=True)
class BodyFile:
    """A body on its way in. Blocks are written as they come; memory stays flat."""

    folder: Path
    queue_id: str
    disk: Disk
    descriptor: int
    size: int = 0

    @classmethod
    def begin(cls, folder: Path, queue_id: str, disk: Disk) -> "BodyFile":
        """Open `<queue id>.part`. Raises OSError."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        descriptor = os.open(folder / f"{queue_id}.part", flags, 0o600)
        return cls(folder, queue_id, disk, descriptor)

    @property
    def name(self) -> str:
        """The name it has once it is complete."""
        return f"{self.queue_id}.body"

    def write(self, block: bytes) -> None:
        """Append. Raises OSError, ENOSPC among others."""
        view = memoryview(block)
        while view:
            view = view[os.write(self.descriptor, view) :]
        self.size += len(block)

    def read_back(self) -> bytes:
        """What was written so far. Raises OSError."""
        return (self.folder / f"{self.queue_id}.part").read_bytes()

    def blocks_so_far(self, skip: int) -> Iterator[bytes]:
        """What was written so far, after `skip` octets. Raises OSError."""
        return blocks(self.folder / f"{self.queue_id}.part", skip)

    def seal(self) -> None:
        """Flush and give the final name. The folder is still to be flushed. Raises OSError."""
        try:
            self.disk.flush_file(self.descriptor)
        finally:
            self._close()
        (self.folder / f"{self.queue_id}.part").rename(self.folder / self.name)

    def discard(self) -> None:
        """Remove it, sealed or not; for a message that was not accepted."""
        self._close()
        for suffix in (".part", ".body"):
            (self.folder / f"{self.queue_id}{suffix}").unlink(missing_ok=True)

    def _close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def blocks(path: Path, skip: int = 0) -> Iterator[bytes]:
    """The content of a body file after `skip` octets, block by block. Raises OSError."""
    with path.open("rb", buffering=0) as file:
        file.seek(skip)
        while block := file.read(READ_BLOCK_BYTES):
            yield block


def orphans(folder: Path, referenced: Collection[str]) -> Iterator[Path]:
    """Files of ours that no row refers to. Anything with another name is not ours to judge."""
    for path in folder.iterdir():
        if _OURS.match(path.name) and path.name not in referenced and path.is_file():
            yield path
