"""Has the mailbox disks test themselves: `short` each night, `long` once a month.

Started by pennypost-disk-test@.timer. A disk goes on serving while it tests itself.
"""

import argparse
import sys
from pathlib import Path

from appliance.base import control
from appliance.base.finding import PennypostError

SOCKET = Path("/run/pennypost/disks.sock")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="pennypost-disk-test", description=__doc__)
    parser.add_argument("kind", choices=("short", "long"))
    kind = parser.parse_args(argv).kind
    try:
        answer = control.call(SOCKET, "test", {"kind": kind}, timeout_seconds=120)
    except PennypostError as error:
        print(error.finding.say, file=sys.stderr)
        return 0  # nothing to worry anybody with: there is a next night
    print(f"{kind} test begun on {len(answer['started'])} disks")
    return 0


if __name__ == "__main__":
    sys.exit(main())
