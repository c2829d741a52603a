"""Two disks as one: a RAID 1 of md over the mail partitions.

Its superblock lies at the end (metadata 1.0), in the room that layout.py leaves free, and the
mail begins at the same byte as on a plain disk. So a disk becomes half of a mirror in place, and
a mirror's half a plain disk again. Copying to a new disk is then md's own resync: the mailboxes
stay open meanwhile, and a power cut costs nothing but the time.
"""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.base.finding import Refused
from appliance.base.run import run
from appliance.storage.jobs import Told

MDADM = "/usr/sbin/mdadm"
DEVICE = "/dev/md60"
SYS = Path("/sys/block/md60")
TOOL_SECONDS = 60.0
POLL_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sync:
    """How far md is with copying or comparing."""

    action: str  # idle, recover, resync, check
    share: float


def parse_sync(action: str, completed: str) -> Sync:
    """sysfs `sync_action` and `sync_completed` ("1234 / 5678", or "none"). Pure."""
    numbers = re.fullmatch(r"(\d+) / (\d+)", completed.strip())
    whole = int(numbers[2]) if numbers else 0
    share = int(numbers[1]) / whole if numbers and whole else 0.0
    return Sync(action=action.strip() or "idle", share=min(share, 1.0))


def is_running() -> bool:
    return (SYS / "md").is_dir() and _read("array_state") not in ("", "clear", "inactive")


def is_member(probe: dict[str, str]) -> bool:
    """Whether a partition, as blkid describes it, is half of a mirror."""
    return probe.get("TYPE") == "linux_raid_member"


def members() -> tuple[str, ...]:
    """Partitions that the running mirror is on: ("sdb2", ...)."""
    return tuple(sorted(path.name for path in (SYS / "slaves").glob("*")))


def in_sync() -> tuple[str, ...]:
    """Those of them that hold all the mail."""
    return tuple(name for name in members() if "in_sync" in _read(f"dev-{name}/state").split(","))


def degraded() -> int:
    """How many halves are missing."""
    said = _read("degraded")
    return int(said) if said.isdecimal() else 0


def create(volume: str, part: str) -> None:
    """Make of a plain mail partition, not mounted, a mirror whose other half is missing."""
    _mdadm(
        "--create", DEVICE, "--run", "--metadata=1.0", "--level=1", "--raid-devices=2",
        "--bitmap=internal", "--assume-clean", "--homehost=none", "--name=pennypost",
        f"--uuid={_uuid(volume)}", part, "missing",
    )  # fmt: skip


def assemble(volume: str, parts: Sequence[str]) -> None:
    """Start the mirror from what is there of it; md itself leaves out a half that is stale."""
    if is_running():
        return
    stop()  # an inactive rest of an earlier try
    _mdadm("--assemble", DEVICE, "--run", f"--uuid={_uuid(volume)}", *parts)


def stop() -> None:
    """End the mirror, which must not be mounted."""
    if (SYS / "md").is_dir():
        _mdadm("--stop", DEVICE)


def join(part: str) -> None:
    """Put a partition into the mirror; one that was there before gets only what it missed."""
    if Path(part).name in members():
        return
    again = run(
        (MDADM, "--manage", DEVICE, "--re-add", part), timeout_seconds=TOOL_SECONDS, check=False
    )
    if again.returncode:
        _mdadm("--manage", DEVICE, "--add", part)


def leave(part: str) -> None:
    """Take a partition out of the mirror and forget that it was there."""
    if Path(part).name in members():
        _mdadm("--manage", DEVICE, "--fail", part, "--remove", part)
    zero(part)


def leave_missing() -> None:
    """Forget halves whose disk is gone."""
    for what in ("failed", "detached"):
        run(
            (MDADM, "--manage", DEVICE, "--remove", what),
            timeout_seconds=TOOL_SECONDS,
            check=False,
        )


def zero(part: str) -> None:
    """Take md's superblock away: what is left is the plain file system."""
    run((MDADM, "--zero-superblock", part), timeout_seconds=TOOL_SECONDS, check=False)


def grow() -> None:
    """Let the mirror use all of its (by now larger) halves."""
    _mdadm("--grow", DEVICE, "--size=max")


def wait_until_same(part: str, told: Told) -> None:
    """Until `part` holds all the mail. Raises Refused when it drops out."""
    name = Path(part).name
    while name not in in_sync():
        if name not in members() or "faulty" in _read(f"dev-{name}/state"):
            raise Refused.because(
                "disk.copy",
                "The new disk failed while the mail was copied to it.",
                "The mail is where it was. Take another disk.",
            )
        now = sync()
        told(now.share, f"{now.share:.0%} copied")
        time.sleep(POLL_SECONDS)


def compare(told: Told) -> None:
    """Read both halves and compare them. Raises Refused when they differ."""
    _write("sync_action", "check")
    time.sleep(POLL_SECONDS)
    while (now := sync()).action != "idle":
        told(now.share, f"{now.share:.0%} compared")
        time.sleep(POLL_SECONDS)
    differing = _read("mismatch_cnt")
    if differing not in ("", "0"):
        raise Refused.because(
            "disk.verify",
            f"The copy differs from its original in {differing} sectors.",
            "Nothing was given up: the mail is still on the old disk. Take another new disk.",
        )


def interrupt() -> None:
    """Stop comparing; copying goes on when the disk is still there."""
    if sync().action == "check":
        _write("sync_action", "idle")


def sync() -> Sync:
    return parse_sync(_read("sync_action"), _read("sync_completed"))


def _mdadm(*arguments: str) -> None:
    run((MDADM, *arguments), timeout_seconds=TOOL_SECONDS, input=b"")


def _uuid(volume: str) -> str:
    """mdadm's way of writing a UUID."""
    digits = volume.replace("-", "")
    return ":".join(digits[at : at + 8] for at in range(0, 32, 8))


def _read(name: str) -> str:
    try:
        return (SYS / "md" / name).read_text().strip()
    except OSError:
        return ""


def _write(name: str, value: str) -> None:
    (SYS / "md" / name).write_text(value)
