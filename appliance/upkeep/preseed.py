"""The preseed file: what somebody wrote for the box when its disk or card was flashed (H6).

`pennypost.toml` on the boot partition, readable and writable in any PC:

    claim_code = "..."                       instead of the code that the box makes
    ssh_keys = ["ssh-ed25519 AAAA... name"]
    [network]
    address = "192.168.1.20/24"              without it: DHCP
    gateway = "192.168.1.1"
    dns = ["192.168.1.1"]

Read before the configuration is made, while the box has no owner; taken whole or not at all. In
order: settings, claim code, the note that the file was used. All three can be done again, so a
power cut between them is mended at the next start, when the file is still there. Once it was
used, it goes (see `remove`): renamed, overwritten, deleted; a cut leaves one of these steps to go
on from.
"""

import hashlib
import logging
import os
import re
import sqlite3
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from appliance.base.clock import SystemClock
from appliance.base.files import fsync_directory, remove_file
from appliance.base.finding import Refused
from appliance.render.claim import ClaimFiles, Preseeded, refuse_weak_code
from appliance.render.facts import box_place
from appliance.render.folders import make_folders
from appliance.render.main import claim_of
from appliance.settings import schema
from appliance.settings.parse import Bad
from appliance.settings.store import Store

# Editors that hide endings add one of their own.
NAMES = frozenset({"pennypost.toml", "pennypost.toml.txt"})
GOING = "pennypost.old"
MAX_BYTES = 64 * 1024
_log = logging.getLogger("pennypost.preseed")

# Name in the file: the setting.
_SETTINGS = {
    "ssh_keys": "box.ssh_authorized_keys",
    "network.mode": "network.mode",
    "network.address": "network.address",
    "network.gateway": "network.gateway",
    "network.dns": "box.dns_forwarders",
}


@dataclass(frozen=True, slots=True)
class Preseed:
    """What a file says: the code (empty: none), and settings by their names."""

    claim_code: str = field(repr=False)
    changes: Mapping[str, Any]


def find(partition: Path) -> Path | None:
    """The file, however its name is written."""
    found = (path for path in sorted(partition.iterdir()) if path.name.lower() in NAMES)
    return next((path for path in found if path.is_file()), None)


def read(data: bytes) -> Preseed:
    """What the file says. Raises Refused that names field and remedy; it never quotes the code."""
    raw = _toml(data)
    network = raw.pop("network", {})
    if not isinstance(network, dict):
        raise _refused("network", "network is not a section.", "Write [network] on its own line.")
    flat = raw | {f"network.{name}": value for name, value in network.items()}
    has_code = "claim_code" in flat
    code = flat.pop("claim_code", "")
    if "network.address" in flat:
        flat.setdefault("network.mode", "static")
    if not flat and not has_code:
        raise _refused("file", "There is nothing in it.", "Write claim_code = “...”, for example.")
    if has_code:
        try:
            refuse_weak_code(code)
        except Bad as error:
            raise _refused("claim_code", f"claim_code: {error.say}", error.fix) from None
    return Preseed(code, {_SETTINGS[name]: _value(name, flat[name]) for name in _known(flat)})


def _known(flat: Mapping[str, Any]) -> list[str]:
    for name in flat:
        if name not in _SETTINGS:
            known = ", ".join(("claim_code", *_SETTINGS))
            # What is not known may hold a mistyped code, so only the name is shown.
            raise _refused(name, f"“{name[:40]}” is not known here.", f"There are: {known}.")
    return list(flat)


def _value(name: str, raw: Any) -> Any:
    try:
        return schema.by_name()[_SETTINGS[name]].parse(raw)
    except Bad as error:
        raise _refused(name, f"{name}: {error.say}", error.fix) from None


def _toml(data: bytes) -> dict[str, Any]:
    if len(data) > MAX_BYTES:
        raise _refused("file", "It is too large.", f"Keep it below {MAX_BYTES // 1024} kB.")
    try:
        return tomllib.loads(data.decode("utf-8-sig").replace("\r\n", "\n"))
    except UnicodeDecodeError:
        fix = "Save it as UTF-8 (or plain ASCII) text."
        raise _refused("file", "It is not UTF-8 text.", fix) from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        at = re.search(r"at line (\d+)", str(error))  # the rest of the message may quote
        where = f"Line {at[1]}" if at else "The end of the file"
        fix = 'Write each line as name = "text", with straight quotation marks.'
        raise _refused("file", f"{where} cannot be read.", fix) from None


def _refused(name: str, say: str, fix: str) -> Refused:
    return Refused.because(f"preseed.{name}", f"pennypost.toml was not used. {say}", fix)


def take(partition: Path, claim: ClaimFiles, store: Store) -> Preseeded:
    """Put the file's content into force, whole, or note why not. A box with an owner has none.

    To be called before the configuration is made. Raises OSError or sqlite3.Error when the data
    partition cannot be written; nothing is noted then and the next start tries again.
    """
    before = claim.preseeded()
    path = find(partition)
    if claim.is_claimed() or (path is None and not before.say):
        return before
    if path is None:
        return claim.note_preseed(Preseeded(before.digest, before.code))
    try:
        data = path.read_bytes()
        preseed = read(data)
        planned = store.planned(preseed.changes)
    except Refused as refused:
        found = refused.finding
        say = found.say if found.check.startswith("preseed.") else f"pennypost.toml: {found.say}"
        return claim.note_preseed(Preseeded(before.digest, before.code, say, found.fix))
    except OSError as error:
        say = f"pennypost.toml cannot be read ({error.strerror})."
        return claim.note_preseed(Preseeded(before.digest, before.code, say, "Write it anew."))
    store.commit(planned, author="preseed")
    if preseed.claim_code:
        claim.set_code(preseed.claim_code)
    has_code = bool(preseed.claim_code) or before.code
    return claim.note_preseed(Preseeded(hashlib.sha256(data).hexdigest(), has_code))


def remove(partition: Path, claim: ClaimFiles) -> bool:
    """Take the used file off the (writable) partition; with an owner, also one never used."""
    done = False
    for path in doomed(partition, claim):
        _destroy(path, partition / GOING)
        done = True
    return done


def doomed(partition: Path, claim: ClaimFiles) -> list[Path]:
    """The files that have to go."""
    used = claim.preseeded().digest
    files = [path for path in sorted(partition.iterdir()) if path.is_file()]
    return [
        path
        for path in files
        if path.name.lower() == GOING
        or (path.name.lower() in NAMES and (claim.is_claimed() or _digest(path) == used))
    ]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _destroy(path: Path, going: Path) -> None:
    """Rename first: half overwritten under its own name it would be read as a bad file."""
    if path.name.lower() != GOING:
        path.rename(going)
        fsync_directory(going.parent)
    with going.open("r+b") as file:
        file.write(b"#" * going.stat().st_size)
        file.flush()
        os.fsync(file.fileno())
    remove_file(going)


def main() -> int:
    """`python3 -m appliance.upkeep.preseed PARTITION`, from pennypost-preseed.service."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    place = box_place()
    make_folders(place)
    store = Store(place.settings_database, SystemClock())
    try:
        result = take(Path(sys.argv[1]), claim_of(place), store)
    except (OSError, sqlite3.Error) as error:
        _log.error("pennypost.toml could not be taken over: %s", error)
        return 1
    if result.say:
        _log.warning("%s %s The box goes on without it.", result.say, result.fix)
    else:
        _log.info("pennypost.toml was taken over")
    return 0


if __name__ == "__main__":
    sys.exit(main())
