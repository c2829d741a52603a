"""Back to the beginning, in three sizes (H5), asked by the box's button or by a file.

    password   administrators, tokens and sessions go; a new claim code opens the box again
    network    the network settings go back to their defaults
    factory    settings, administrators, keys and what the box remembers go

Mail is never touched: queue, mailboxes and the people's accounts stay.

Who asks leaves a mark, `DATA/reset`, and restarts the box; or writes `RESET.TXT` with one of the
three words onto the boot partition in any PC. It is carried out at the next start, before the
configuration is made and while nothing runs. Every step can be repeated and the mark goes last,
so a power cut at any moment is mended by the start after it. A used file is noted by its digest
until it is off the partition: it is obeyed once.
"""

import contextlib
import hashlib
import logging
import shutil
import sqlite3
import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from appliance.base.clock import SystemClock
from appliance.base.files import fsync_directory, remove_file, replace_file
from appliance.base.finding import PennypostError, Refused
from appliance.render.facts import box_place
from appliance.settings import schema
from appliance.settings.store import Store

MARK, DONE = "reset", "reset-done"
# Editors that hide endings add one of their own.
NAMES = frozenset({"reset.txt", "reset.txt.txt"})
MAX_BYTES = 4096
_log = logging.getLogger("pennypost.reset")


class Reset(StrEnum):
    """How much is reset."""

    PASSWORD = "password"  # noqa: S105  a word for people, not a password
    NETWORK = "network"
    FACTORY = "factory"


SAID = {
    Reset.PASSWORD: "The administrators were removed; the claim code opens this box again.",
    Reset.NETWORK: "The network settings are back at their defaults.",
    Reset.FACTORY: "The box is as new; queue, mailboxes and accounts were kept.",
}
# Folders of DATA that are emptied. Named one by one: what is not named may be mail.
EMPTIED = {
    Reset.PASSWORD: ("web", "claim"),
    Reset.NETWORK: (),
    Reset.FACTORY: ("settings", "memory", "rspamd", "keys", "web", "claim"),
}


@dataclass(frozen=True, slots=True)
class Mark:
    """A reset that is due; `digest` is that of the file that asked for it, empty for a button."""

    what: Reset
    digest: str = ""


def request(data: Path, what: Reset, digest: str = "") -> None:
    """Leave the mark, durably. The next start carries it out."""
    replace_file(data / MARK, f"{what} {digest}\n".encode(), mode=0o600)


def due(data: Path) -> Mark | None:
    """The reset that is due; a mark that says nothing known is taken away."""
    try:
        words = (data / MARK).read_text("ascii", "replace").split()
    except FileNotFoundError:
        return None
    with contextlib.suppress(ValueError, IndexError):
        return Mark(Reset(words[0]), words[1] if len(words) > 1 else "")
    remove_file(data / MARK)
    return None


# --- the file on the boot partition ------------------------------------------------------


def find(partition: Path) -> Path | None:
    """RESET.TXT, however its name is written."""
    found = (path for path in sorted(partition.iterdir()) if path.name.lower() in NAMES)
    return next((path for path in found if path.is_file()), None)


def word_of(content: bytes) -> Reset:
    """What a file asks for. Raises Refused."""
    wide = content[:2] in (b"\xff\xfe", b"\xfe\xff")
    text = content[:MAX_BYTES].decode("utf-16" if wide else "utf-8-sig", "replace")
    try:
        return Reset(text.strip().strip("\"'.").casefold())
    except ValueError:
        raise Refused.because(
            "reset.file",
            "RESET.TXT was not used: its word is not known.",
            "Write one word into it: password, network or factory.",
        ) from None


def take(partition: Path, data: Path) -> None:
    """Make a mark of the file, unless it was obeyed before. Raises Refused for another word."""
    path = find(partition)
    if path is None:
        remove_file(data / DONE)
        return
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != _done(data):
        request(data, word_of(content), digest)


def doomed(partition: Path, data: Path) -> Path | None:
    """The file, when it was obeyed and can go."""
    path = find(partition)
    used = path and hashlib.sha256(path.read_bytes()).hexdigest() == _done(data)
    return path if used else None


def remove(partition: Path, data: Path) -> None:
    """Take the used file off the (writable) partition. The note of it goes at the next start."""
    path = doomed(partition, data)
    if path is not None:
        remove_file(path)


def _done(data: Path) -> str:
    try:
        return (data / DONE).read_text("ascii", "replace").strip()
    except FileNotFoundError:
        return ""


# --- carrying it out -----------------------------------------------------------------------


def carry_out(data: Path, store: Store) -> Reset | None:
    """Do what is due, if anything is; what was done. Raises OSError or sqlite3.Error.

    `store` opens its file when it is used, not before.
    """
    mark = due(data)
    if mark is None:
        return None
    for name in EMPTIED[mark.what]:
        empty(data / name)
    if mark.what is Reset.NETWORK:
        _reset_network(store)
    if mark.digest:
        replace_file(data / DONE, f"{mark.digest}\n".encode(), mode=0o600)
    remove_file(data / MARK)
    return mark.what


def empty(folder: Path) -> None:
    """Remove all that is in a folder; the folder itself stays, and render makes what it needs."""
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    fsync_directory(folder)


def _reset_network(store: Store) -> None:
    """DHCP again, and name servers of the box's own choice."""
    names = [name for name in schema.by_name() if name.startswith("network.")]
    fields = schema.by_name()
    changes = {name: fields[name].default for name in (*names, "box.dns_forwarders")}
    planned = store.planned(changes)
    if planned != store.current()[1]:
        store.commit(planned, author="reset")


def main() -> int:
    """`python3 -m appliance.upkeep.resets [PARTITION]`, at boot, before anything else of ours."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    place = box_place()
    try:
        if len(sys.argv) > 1:
            take(Path(sys.argv[1]), place.data)
    except Refused as refused:
        _log.warning("%s %s", refused.finding.say, refused.finding.fix)
    except OSError as error:
        _log.error("RESET.TXT cannot be read: %s", error)
    try:
        done = carry_out(place.data, Store(place.settings_database, SystemClock()))
    except (OSError, sqlite3.Error, PennypostError) as error:
        _log.error("the reset could not be carried out; the next start tries again: %s", error)
        return 1
    if done is not None:
        _log.warning("%s", SAID[done])
    return 0


if __name__ == "__main__":
    sys.exit(main())
