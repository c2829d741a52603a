"""The claim on disk: the code that a box shows until it has an owner, and the mark that it has.

    claim/code      made at first boot unless a preseed file brought one; gone once claimed
    claim/claimed   exists: the box has an owner, for ever (until a factory reset)

The code is eight letters and digits that cannot be taken for each other: 40 bits, and the
wizard pauses after five wrong ones.
"""

import contextlib
import secrets
from pathlib import Path

from appliance.base.files import remove_file, replace_file

# Without I, L, O, U, 0 and 1: read from a console and typed on a phone.
LETTERS = "23456789ABCDEFGHJKMNPQRSTVWXYZ"
GROUPS = 2
GROUP_LETTERS = 4


def new_code() -> str:
    """A code such as `K7RM-2QXA`."""
    groups = ("".join(secrets.choice(LETTERS) for _ in range(GROUP_LETTERS)) for _ in range(GROUPS))
    return "-".join(groups)


class ClaimFiles:
    """The two files; `group` (the web's) may read the code, nobody else."""

    def __init__(self, folder: Path, *, group: str | None = None) -> None:
        self._folder = folder
        self._group = group

    @property
    def code_file(self) -> Path:
        return self._folder / "code"

    def is_claimed(self) -> bool:
        return (self._folder / "claimed").exists()

    def code(self) -> str:
        """The code; empty when there is none (any more)."""
        return self.code_file.read_text().strip() if self.code_file.exists() else ""

    def ensure_code(self) -> str:
        """Make a code when the box is neither claimed nor has one; the code."""
        if self.is_claimed():
            remove_file(self.code_file)  # a cut between the mark and the removal left it
            return ""
        if not self.code():
            replace_file(self.code_file, f"{new_code()}\n".encode(), mode=0o640, group=self._group)
        return self.code()

    def close(self) -> None:
        """Mark the box as claimed, durably. The mark counts; the code is then only litter."""
        replace_file(self._folder / "claimed", b"", mode=0o644)
        with contextlib.suppress(OSError):
            remove_file(self.code_file)
