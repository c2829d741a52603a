"""What may be on a disk after a power cut, worked out from a trace of system calls.

A small ALICE (OSDI 14): `read_trace` turns strace's log into operations on the files below one
folder, with the acknowledgements that went over the wire in between; `states` gives the disks
that a power cut may leave. Two sets of rules:

* POSIX: a flush makes durable the content of that file, or the names in that folder, and nothing
  else. Whatever else was done may be there or not, in any order.
* ext4 (data=ordered): a flush of anything commits all names changed before, in their order.

A write may be torn: the last one that got through is there by half. Writes through a memory map
are not seen; SQLite's `-shm` is rebuilt at each start.

    strace -f -y -xx -qq -s 4000000 -e trace=CALLS -o LOG ...
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

CALLS = (
    "openat,pwrite64,write,writev,sendto,sendmsg,ftruncate,fsync,fdatasync,rename,renameat,"
    "renameat2,unlink,unlinkat,mkdir,mkdirat"
)
STRACE = ["strace", "-f", "-y", "-xx", "-qq", "-s", "4000000", "-e", f"trace={CALLS}"]
_ACKNOWLEDGED = re.compile(rb"250 2[0-9.]+ [^\r\n]*queued as ([0-9A-Z]+)")
_HEX = r"(?:\\x[0-9a-f]{2})*"
_LINE = re.compile(r"(\d+) +(.*)\Z")
_RESUMED = re.compile(r"<\.\.\. \w+ resumed>(.*)\Z")
_CALL = re.compile(r"(\w+)\((.*)\) += (-?\d+)", re.DOTALL)
_OPENED = re.compile(rf" = (\d+)<({_HEX})>\Z")
_QUOTED = re.compile(rf'"({_HEX})"')
_FIRST = re.compile(rf"(\d+)<({_HEX})>(\(deleted\))?")


@dataclass(frozen=True, slots=True)
class Change:
    """One thing done to the files. `name` and `target` are paths below the folder."""

    kind: str  # write, truncate, create, mkdir, rename, unlink, sync, acknowledged
    begun: int
    ended: int
    inode: int = 0
    name: str = ""
    target: str = ""
    offset: int = 0
    data: bytes = b""

    @property
    def is_data(self) -> bool:
        return self.kind in ("write", "truncate")

    @property
    def folder(self) -> str:
        """The folder whose names it changes."""
        return (self.target or self.name).rpartition("/")[0]


@dataclass(slots=True)
class _Reader:
    root: str
    names: dict[str, int] = field(default_factory=dict)  # as the running kernel sees them
    changes: list[Change] = field(default_factory=list)
    offsets: dict[int, int] = field(default_factory=dict)
    inodes: int = 0

    def below(self, path: bytes) -> str | None:
        """The path below the root; None for what is elsewhere or of no interest."""
        text = path.decode("utf-8", "replace")
        if text == self.root:
            return ""
        if not text.startswith(self.root + "/") or text.endswith("-shm"):
            return None
        name = text[len(self.root) + 1 :]
        return name if name == "spool" or name.startswith("spool/") else None

    def add(self, kind: str, begun: int, ended: int, **more: object) -> None:
        self.changes.append(Change(kind, begun, ended, **more))  # type: ignore[arg-type]

    def call(self, text: str, begun: int, ended: int) -> None:
        found = _CALL.match(text)
        if not found or int(found[3]) < 0:
            return
        name, arguments, result = found[1], found[2], int(found[3])
        if name == "openat":
            self.opened(text, arguments, begun, ended)
        elif name in ("rename", "renameat", "renameat2", "unlink", "unlinkat", "mkdir", "mkdirat"):
            self.named(name, arguments, begun, ended)
        else:
            self.on_descriptor(name, arguments, result, begun, ended)

    def opened(self, text: str, arguments: str, begun: int, ended: int) -> None:
        opened = _OPENED.search(text)
        if not opened:
            return
        self.offsets[int(opened[1])] = 0
        path = self.below(_bytes(opened[2]))
        if path and "O_CREAT" in arguments and path not in self.names:
            self.inodes += 1
            self.names[path] = self.inodes
            self.add("create", begun, ended, inode=self.inodes, name=path)
        elif path and "O_TRUNC" in arguments:
            self.add("truncate", begun, ended, inode=self.names[path], name=path)

    def named(self, name: str, arguments: str, begun: int, ended: int) -> None:
        paths = [self.below(_bytes(text)) for text in _QUOTED.findall(arguments)]
        path = paths[0] if paths else None
        if not path:
            return
        if name.startswith("mkdir"):
            self.inodes += 1
            self.names[path] = self.inodes
            self.add("mkdir", begun, ended, inode=self.inodes, name=path)
        elif name.startswith("unlink"):
            if path in self.names:
                inode = self.names.pop(path)
                self.add("unlink", begun, ended, inode=inode, name=path)
        else:
            target = paths[1] or ""
            inode = self.names[target] = self.names.pop(path)
            self.add("rename", begun, ended, inode=inode, name=path, target=target)

    def on_descriptor(self, name: str, arguments: str, result: int, begun: int, ended: int) -> None:
        first = _FIRST.match(arguments)
        if not first:
            return
        path = self.below(_bytes(first[2])) if first[2] else None
        if path is None:
            if name in ("write", "writev", "sendto", "sendmsg"):
                sent = b"".join(_bytes(text) for text in _QUOTED.findall(arguments))
                for queue_id in _ACKNOWLEDGED.findall(sent):
                    self.add("acknowledged", begun, ended, name=queue_id.decode())
            return
        inode = self.names.get(path, -1)
        if first[3] or (inode < 0 and path):  # its name is gone: nobody will find it again
            return
        if name in ("fsync", "fdatasync"):
            self.add("sync", begun, ended, inode=inode, name=path)
        elif name == "ftruncate":
            length = int(arguments.rsplit(",", 1)[1])
            self.add("truncate", begun, ended, inode=inode, name=path, offset=length)
        else:
            data = _bytes(_QUOTED.findall(arguments)[0])[:result]
            if name == "pwrite64":
                offset = int(arguments.rsplit(",", 1)[1])
            else:
                number = int(first[1])
                offset = self.offsets.get(number, 0)
                self.offsets[number] = offset + result
            self.add("write", begun, ended, inode=inode, name=path, offset=offset, data=data)


def read_trace(logs: Sequence[Path], root: Path) -> list[Change]:
    """All changes below `root`, in order: a flush counts from its end, the rest from the start."""
    reader, number = _Reader(str(root)), 0
    for log in logs:
        waiting: dict[str, tuple[str, int]] = {}
        for line in log.read_text().splitlines():
            number += 1
            found = _LINE.match(line)
            if not found:
                continue
            pid, text = found[1], found[2]
            if text.endswith("<unfinished ...>"):
                waiting[pid] = (text.removesuffix("<unfinished ...>").rstrip(), number)
                continue
            begun, resumed = number, _RESUMED.match(text)
            if resumed:
                if pid not in waiting:
                    continue
                head, begun = waiting.pop(pid)
                text = head + resumed[1]
            reader.call(text, begun, number)
    return sorted(reader.changes, key=lambda c: c.ended if c.kind == "sync" else c.begun)


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


@dataclass(frozen=True, slots=True)
class State:
    """A disk after a power cut, and what had been acknowledged until then."""

    files: dict[str, bytes]
    folders: tuple[str, ...]
    acknowledged: frozenset[str]
    what: str

    def make(self, root: Path) -> None:
        """Put it down below `root`, which exists and is empty."""
        for folder in self.folders:
            (root / folder).mkdir()
        for name, content in self.files.items():
            (root / name).write_bytes(content)

    @property
    def digest(self) -> bytes:
        found = hashlib.blake2b(repr(self.folders).encode(), digest_size=16)
        for name in sorted(self.files):
            found.update(name.encode() + b"\0" + hashlib.blake2b(self.files[name]).digest())
        return found.digest()


@dataclass(slots=True)
class _Disk:
    names: dict[str, int] = field(default_factory=dict)
    folders: dict[str, int] = field(default_factory=dict)
    content: dict[int, bytes] = field(default_factory=dict)

    def copy(self) -> _Disk:
        return _Disk(dict(self.names), dict(self.folders), dict(self.content))

    def apply(self, change: Change, *, torn: bool = False) -> None:
        kind, inode = change.kind, change.inode
        if kind == "mkdir":
            self.folders[change.name] = inode
        elif kind == "create":
            self.names[change.name] = inode
        elif kind == "unlink":
            if self.names.get(change.name) == inode:
                del self.names[change.name]
        elif kind == "rename":
            if self.names.get(change.name) == inode:
                del self.names[change.name]
            self.names[change.target] = inode
        else:
            old = self.content.get(inode, b"")
            if kind == "truncate":
                self.content[inode] = old[: change.offset].ljust(change.offset, b"\0")
            else:
                data = change.data[: len(change.data) // 2] if torn else change.data
                end = change.offset + len(data)
                self.content[inode] = old[: change.offset].ljust(change.offset, b"\0") + data
                self.content[inode] += old[end:]

    def state(self, acknowledged: frozenset[str], what: str) -> State:
        folders = [name for name in sorted(self.folders) if _parents(name) <= self.folders.keys()]
        files = {
            name: self.content.get(inode, b"")
            for name, inode in self.names.items()
            if _parents(name) <= self.folders.keys()
        }
        return State(files, tuple(folders), acknowledged, what)


def _parents(name: str) -> set[str]:
    parts = name.split("/")[:-1]
    return {"/".join(parts[: n + 1]) for n in range(len(parts))}


def states(
    changes: Sequence[Change], *, rules: str, most_a_cut: int = 0, seed: int = 0
) -> Iterator[State]:
    """Disks that a power cut may leave, none twice with less acknowledged than before.

    A cut is looked at just before each flush takes effect, at each acknowledgement and at the
    end: then most is pending. `most_a_cut` bounds the states of one cut (0: all that are made);
    the ones chosen depend on `seed` only. `rules` is "ext4" or "posix".
    """
    chance = random.Random(seed)
    disk, pending, acknowledged = _Disk(), list[Change](), frozenset[str]()
    seen: dict[bytes, int] = {}
    for number, change in enumerate([*changes, Change("end", 1 << 60, 1 << 60)]):
        if change.kind in ("sync", "acknowledged", "end"):
            if change.kind == "acknowledged":
                acknowledged |= {change.name}
            choices = list(_choices(pending, rules))
            if most_a_cut and len(choices) > most_a_cut:
                choices = choices[:3] + chance.sample(choices[3:], most_a_cut - 3)
            for words, chosen, torn in choices:
                after = disk.copy()
                for index, one in enumerate(chosen):
                    after.apply(one, torn=torn and index == len(chosen) - 1)
                state = after.state(acknowledged, f"{rules} cut {number} ({change.kind}): {words}")
                if seen.get(state.digest, -1) < len(acknowledged):
                    seen[state.digest] = len(acknowledged)
                    yield state
            if change.kind == "sync":
                pending = _settle(disk, pending, change, rules)
        else:
            pending.append(change)


def _settle(disk: _Disk, pending: list[Change], sync: Change, rules: str) -> list[Change]:
    """Make durable what the flush promises; what is left stays pending."""
    left = []
    for change in pending:
        before = change.ended < sync.begun
        if change.is_data:
            promised = change.inode == sync.inode
        else:
            promised = rules == "ext4" or change.folder == sync.name
        if before and promised:
            disk.apply(change)
        else:
            left.append(change)
    return left


def _choices(pending: list[Change], rules: str) -> Iterator[tuple[str, list[Change], bool]]:
    """Which of the pending changes got through: (in words, those, whether the last is torn)."""
    yield "nothing", [], False
    if not pending:
        return
    yield "all", pending, False
    if rules == "posix":
        yield "all but names", [c for c in pending if c.is_data], False
    else:
        yield "names only", [c for c in pending if not c.is_data], False
    names = [c for c in pending if not c.is_data]
    for index, change in enumerate(pending):
        start = pending[: index + 1]
        yield f"the first {index + 1}", start, False
        if change.kind == "write" and len(change.data) > 1:
            yield f"the first {index + 1}, torn", start, True
        if change.is_data:
            without = [c for c in pending if c is not change]
            yield f"all but {index}", without, False
            yield f"only {index} and names", [*names, change], change.kind == "write"
        elif rules == "posix":
            yield f"all but name {index}", [c for c in pending if c is not change], False
            yield (
                f"only name {index} and data",
                [c for c in pending if c.is_data or c is change],
                False,
            )
        else:  # names in their order: this one and all after it are missing
            gone = set(map(id, names[names.index(change) :]))
            yield f"no names from {index}", [c for c in pending if id(c) not in gone], False
