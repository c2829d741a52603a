"""The folders on the data partition: who owns each. Made at every start, so that a new data
partition (first boot, factory reset) needs nothing else."""

import shutil
from dataclasses import dataclass

from appliance.render.facts import Place


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder under the data folder with its rights on a box."""

    name: str
    mode: int
    owner: str = "root"
    group: str = "root"


FOLDERS = (
    Folder(".", 0o755),
    Folder("settings", 0o700),
    Folder("spool", 0o700, "pp-relay", "pp-relay"),
    Folder("memory", 0o700, "pp-relay", "pp-relay"),
    Folder("accounts", 0o750, "root", "pp-relay"),
    Folder("rspamd", 0o700, "_rspamd", "_rspamd"),
    Folder("web", 0o700, "pp-web", "pp-web"),
    Folder("keys", 0o755),
    Folder("keys/dkim", 0o750, "root", "pp-relay"),
    Folder("claim", 0o750, "root", "pp-web"),
)


def make_folders(place: Place) -> None:
    """Make what is missing and set the rights; in a checkout all belongs to the caller."""
    if place.dev:
        _make_for_caller(place)
        return
    for folder in FOLDERS:
        path = place.data / folder.name
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(folder.mode)
        shutil.chown(path, folder.owner, folder.group)
    place.run.mkdir(mode=0o755, parents=True, exist_ok=True)


def _make_for_caller(place: Place) -> None:
    """Keys lie here: a new data folder is the caller's alone; one that exists keeps its rights."""
    place.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    for folder in FOLDERS:
        (place.data / folder.name).mkdir(mode=folder.mode, exist_ok=True)
    (place.data / "log").mkdir(mode=0o700, exist_ok=True)
    place.run.mkdir(mode=0o755, parents=True, exist_ok=True)
