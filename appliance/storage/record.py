"""What the box remembers of its mailbox disk, and the job under way: one file, replaced whole."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from appliance.base.files import replace_file
from appliance.base.finding import Refused
from appliance.storage.plan import Job, Kind, Record, Step

VERSION = 1


class Book:
    """DATA/storage/disk.json. Every change is on stable storage when the call returns."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.record = Record()
        self.job: Job | None = None
        self._load()

    def keep(self, *, record: Record, job: Job | None) -> None:
        """Replace both at once, so that a power cut never finds one without the other."""
        raw = {
            "version": VERSION,
            "record": asdict(record),
            "job": asdict(job) if job else None,
        }
        replace_file(self._path, json.dumps(raw, indent=1).encode() + b"\n", mode=0o600)
        self.record, self.job = record, job

    def _load(self) -> None:
        try:
            raw = json.loads(self._path.read_bytes())
            if raw["version"] != VERSION:
                raise ValueError("of another version")
            self.record, self.job = _record(raw["record"]), _job(raw["job"])
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError) as error:
            # Nothing is guessed: a mailbox disk is brought in again by hand, by its marker.
            raise Refused.because(
                "disk.record",
                f"What the box knows of its mailbox disk cannot be read: {error}.",
                "Bring the disk in again; its mailboxes stay as they are.",
            ) from error


def _record(raw: Any) -> Record:
    members = tuple(str(name) for name in raw["members"])
    return Record(volume=str(raw["volume"]), members=members, attached=raw["attached"] is True)


def _job(raw: Any) -> Job | None:
    if raw is None:
        return None
    return Job(
        kind=Kind(raw["kind"]),
        disk=str(raw["disk"]),
        old=str(raw["old"]),
        volume=str(raw["volume"]),
        steps=tuple(Step(name) for name in raw["steps"]),
        done=int(raw["done"]),
    )
