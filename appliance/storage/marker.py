"""The marker: by which a Pennypost disk is known before anything of it is mounted.

It fills the first partition (1 MiB, from the first MiB on), one sector of it, so that it is
written whole or not at all:

    16 bytes  MAGIC
     2 bytes  length of the text, little endian
              the text: JSON with box, volume, created, stage
    32 bytes  HMAC-SHA-256 of all before it, by the key of the box that made the disk

Only who holds the key can make a disk that this box mounts by itself. A disk with another box's
marker is recognised, and mounted after somebody has agreed.
"""

import hashlib
import hmac
import json
import re
import secrets
import struct
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from appliance.base.files import replace_file

MAGIC = b"PENNYPOST-MAIL\x00\x01"
SECTOR_BYTES = 512
_HEAD = struct.Struct("<16sH")
_SIGNATURE_BYTES = 32
MAX_TEXT_BYTES = SECTOR_BYTES - _HEAD.size - _SIGNATURE_BYTES
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_BOX = re.compile(r"[0-9a-f]{16}")


class Stage(StrEnum):
    """How far the disk is. Only a ready one holds mail."""

    FORMATTING = "formatting"
    COPYING = "copying"  # joins a volume whose mail is still being copied to it
    READY = "ready"


@dataclass(frozen=True, slots=True, kw_only=True)
class Marker:
    """What the marker says. `volume` is the UUID of the file system with the mail."""

    box: str
    volume: str
    created: str  # ISO 8601, UTC
    stage: Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A marker that was found. `own`: signed by this box's key."""

    marker: Marker
    own: bool


class Key:
    """The box's key for its disks."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self.box = hmac.new(secret, b"pennypost box", hashlib.sha256).hexdigest()[:16]

    def sign(self, data: bytes) -> bytes:
        return hmac.new(self._secret, data, hashlib.sha256).digest()


def key_at(path: Path) -> Key:
    """The key in the file `path`, made when there is none. Raises OSError.

    A damaged file is never replaced: the disks that it has signed would become strangers.
    """
    try:
        secret = path.read_bytes()
    except FileNotFoundError:
        secret = secrets.token_bytes(32)
        replace_file(path, secret, mode=0o600)
    if len(secret) != 32:
        raise OSError(f"{path} is damaged: it has {len(secret)} bytes instead of 32")
    return Key(secret)


def pack(marker: Marker, key: Key) -> bytes:
    """The marker as the one sector that lies on the disk."""
    text = json.dumps(asdict(marker), separators=(",", ":")).encode()
    if len(text) > MAX_TEXT_BYTES:
        raise ValueError("the marker does not fit its sector")
    signed = _HEAD.pack(MAGIC, len(text)) + text
    return (signed + key.sign(signed)).ljust(SECTOR_BYTES, b"\0")


def unpack(sector: bytes, key: Key) -> Read | None:
    """The marker in a sector from a disk, which may hold anything; None when there is none."""
    if len(sector) < SECTOR_BYTES:
        return None
    magic, length = _HEAD.unpack_from(sector)
    if magic != MAGIC or length > MAX_TEXT_BYTES:
        return None
    end = _HEAD.size + length
    try:
        marker = _marker(json.loads(sector[_HEAD.size : end]))
    except (ValueError, RecursionError):
        return None
    signature = sector[end : end + _SIGNATURE_BYTES]
    own = hmac.compare_digest(signature, key.sign(sector[:end])) and marker.box == key.box
    if not own and marker.box == key.box:
        return None  # says that it is ours and cannot prove it
    return Read(marker=marker, own=own)


def _marker(raw: Any) -> Marker:
    """Raises ValueError when anything is not as we write it."""
    if not isinstance(raw, dict) or not all(isinstance(value, str) for value in raw.values()):
        raise ValueError("no marker")
    box, volume, created = raw.get("box", ""), raw.get("volume", ""), raw.get("created", "")
    if not _BOX.fullmatch(box) or not _UUID.fullmatch(volume):
        raise ValueError("no marker of ours")
    if len(created) > 40 or not re.fullmatch(r"[0-9T:+-]*", created):
        raise ValueError("no date")
    return Marker(box=box, volume=volume, created=created, stage=Stage(raw.get("stage", "")))
