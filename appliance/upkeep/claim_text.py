"""CLAIM.TXT on the boot partition: the claim code for whom has no console.

Put the box's disk or card into any PC and the file is there to read. Run at boot and when the
box is claimed (pennypost-claim.service): the file follows the claim, and goes with it.
"""

import logging
import sys
from pathlib import Path

from appliance.base.files import remove_file, replace_file
from appliance.base.finding import PennypostError
from appliance.render.claim import ClaimFiles
from appliance.upkeep import esp, preseed, resets

NAME = "CLAIM.TXT"
CLAIM = Path("/data/pennypost/claim")
_log = logging.getLogger("pennypost.claim")


def wanted(claim: Path) -> bytes | None:
    """What the file has to hold; None when there must be no file."""
    files = ClaimFiles(claim)
    seed = files.preseeded()
    if files.is_claimed() or not files.code():
        return None
    code = f"Claim code: {files.code()}"
    if seed.code:
        code = "The claim code is the one that you wrote into the file pennypost.toml."
    lines = (
        "This box waits to be set up.",
        "",
        *((seed.say, seed.fix, "") if seed.say else ()),
        code,
        "",
        "Connect it to your network, open http://pennypost.local/ in a browser",
        "and type the code there.",
    )
    # For any editor of any PC: line ends as Windows wants them, ASCII alone.
    return "\r\n".join((*lines, "")).encode("ascii", "replace")


def bring_about(content: bytes | None, partition: Path, lock: Path = esp.LOCK) -> bool:
    """Make the file as `content` says; False when it was so already and nothing was written."""
    path = partition / NAME
    if content == (path.read_bytes() if path.exists() else None):
        return False
    with esp.writable(partition, lock):
        if content is None:
            remove_file(path)
        else:
            replace_file(path, content)
    return True


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if not esp.is_there():
        _log.warning("the boot partition is not mounted; %s is not kept", NAME)
        return 0
    try:
        claim = ClaimFiles(CLAIM)
        if preseed.doomed(esp.MOUNT_POINT, claim):
            with esp.writable() as partition:
                preseed.remove(partition, claim)
            _log.info("pennypost.toml is off the boot partition")
        if resets.doomed(esp.MOUNT_POINT, CLAIM.parent):
            with esp.writable() as partition:
                resets.remove(partition, CLAIM.parent)
            _log.info("RESET.TXT is off the boot partition")
        if bring_about(wanted(CLAIM), esp.MOUNT_POINT):
            _log.info("%s follows the claim", NAME)
    except (PennypostError, OSError) as error:
        _log.error("%s could not be kept: %s", NAME, error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
