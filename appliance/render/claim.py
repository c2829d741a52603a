"""The claim on disk: the code that a box shows until it has an owner, and the mark that it has.

    claim/code      made at first boot unless a preseed file brought one; gone once claimed
    claim/claimed   exists: the box has an owner, for ever (until a factory reset)
    claim/preseed   what became of the preseed file (see upkeep/preseed.py)
    RUN/claim-press when the button was last pressed: for two minutes no code is needed

The code is eight letters and digits that cannot be taken for each other: 40 bits, and the
wizard pauses after five wrong ones.
"""

import contextlib
import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.base.files import remove_file, replace_file
from appliance.settings.parse import Bad

# Without I, L, O, U, 0 and 1: read from a console and typed on a phone.
LETTERS = "23456789ABCDEFGHJKMNPQRSTVWXYZ"
GROUPS = 2
GROUP_LETTERS = 4


PRESS_SECONDS = 120.0


def new_code() -> str:
    """A code such as `K7RM-2QXA`."""
    groups = ("".join(secrets.choice(LETTERS) for _ in range(GROUP_LETTERS)) for _ in range(GROUPS))
    return "-".join(groups)


# What a person makes up is easier to guess than what the box draws.
_OWN_CODE_LETTERS = 10
_OWN_CODE_DIFFERENT = 5
_OWN_CODE_MAX = 40
_ROWS = ("0123456789" * 5, "ABCDEFGHIJKLMNOPQRSTUVWXYZ" * 2, "QWERTYUIOPASDFGHJKLZXCVBNM")


def refuse_weak_code(code: Any) -> None:
    """Raise Bad, which does not quote it, for a claim code that would be guessed."""
    if not isinstance(code, str) or len(code) > _OWN_CODE_MAX or not code.isascii():
        raise Bad(
            "This is not a code.",
            f"Write letters and digits in quotation marks, at most {_OWN_CODE_MAX}.",
        )
    counted = "".join(letter for letter in code.upper() if letter.isalnum())
    if len(counted) < _OWN_CODE_LETTERS:
        raise Bad(
            f"The code has only {len(counted)} letters and digits.",
            f"Use at least {_OWN_CODE_LETTERS}; spaces and hyphens do not count.",
        )
    if len(set(counted)) < _OWN_CODE_DIFFERENT or any(
        counted in row or counted[::-1] in row for row in _ROWS
    ):
        raise Bad("The code is easy to guess.", "Mix letters and digits that form no series.")


@dataclass(frozen=True, slots=True)
class Preseeded:
    """What became of the preseed file.

    `digest` is that of the file that was used (empty: none), `code` whether the claim code is
    from it; `say` and `fix` tell why one that is there is not used.
    """

    digest: str = ""
    code: bool = False
    say: str = ""
    fix: str = ""


class Press:
    """The last press of the button, in memory: `path` lies in RUN, so a restart forgets it.

    Times are of the machine's monotonic clock, which all its programs share.
    """

    def __init__(self, path: Path, *, group: str | None = None) -> None:
        self._path = path
        self._group = group

    def note(self, monotonic: float) -> None:
        """The button was pressed just now. Each press has a name of its own."""
        text = json.dumps({"at": monotonic, "name": secrets.token_hex(8)})
        replace_file(self._path, text.encode(), mode=0o640, group=self._group)

    def name(self, monotonic: float) -> str:
        """The name of a press that counts still; empty when there is none."""
        try:
            noted = json.loads(self._path.read_bytes())
            age = monotonic - float(noted["at"])
            return str(noted["name"]) if 0 <= age < PRESS_SECONDS else ""
        except (OSError, ValueError, KeyError, TypeError):
            return ""


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

    def set_code(self, code: str) -> None:
        """Have `code` instead of the one that was made."""
        replace_file(self.code_file, f"{code}\n".encode(), mode=0o640, group=self._group)

    def preseeded(self) -> Preseeded:
        """What was noted of the preseed file."""
        try:
            text = (self._folder / "preseed").read_text()
        except OSError:
            return Preseeded()
        lines = dict(line.split(" ", 1) for line in text.splitlines() if " " in line)
        return Preseeded(
            lines.get("used", ""),
            lines.get("code") == "yes",
            lines.get("say", ""),
            lines.get("fix", ""),
        )

    def note_preseed(self, what: Preseeded) -> Preseeded:
        """Note it durably, in lines that a shell can read as well."""
        pairs = {
            "used": what.digest,
            "code": "yes" if what.code else "",
            "say": " ".join(what.say.split()),
            "fix": " ".join(what.fix.split()),
        }
        text = "".join(f"{name} {value}\n" for name, value in pairs.items() if value)
        path = self._folder / "preseed"
        replace_file(path, text.encode(), mode=0o640, group=self._group)
        return what

    def close(self) -> None:
        """Mark the box as claimed, durably. The mark counts; the code is then only litter."""
        replace_file(self._folder / "claimed", b"", mode=0o644)
        with contextlib.suppress(OSError):
            remove_file(self.code_file)
