"""What the disks daemon says, in words for people and in the language of the page."""

import re
from collections.abc import Mapping
from datetime import datetime
from functools import cache

from appliance.web.i18n import N_, _

STEPS: Mapping[str, str] = {
    "wipe": N_("Erase"),
    "table": N_("Partition"),
    "format": N_("Format"),
    "ready": N_("Sign as ready"),
    "check": N_("Check the file system"),
    "sign": N_("Sign for this box"),
    "remember": N_("Remember the disk"),
    "mount": N_("Open the mailboxes"),
    "unmount": N_("Close the mailboxes"),
    "forget": N_("Forget the disk"),
    "release": N_("Let the disk go"),
    "array": N_("Prepare the copy"),
    "join": N_("Join the new disk"),
    "copy": N_("Copy the mail"),
    "verify": N_("Compare the copy"),
    "drop": N_("Leave the old disk"),
    "plain": N_("Finish the copy"),
    "retire": N_("Unsign the old disk"),
    "grow": N_("Grow the file system"),
}

# What the disks daemon says with something filled in; the first that fits is taken.
SENTENCES = (
    N_("A partition table (%(kind)s) with %(n)s partitions."),
    N_("A partition table (%(kind)s) with 1 partition."),
    N_("A mailbox disk of this box, made on %(day)s."),
    N_("A mailbox disk of another Pennypost, made on %(day)s."),
    N_("This disk was made by another Pennypost, on %(day)s."),
    N_("It stands on the disk and reads: %(serial)s"),
    N_("There is something on this disk, and it would be lost: %(content)s"),
    N_("To erase everything on it, type its serial number: %(serial)s"),
    N_("This disk cannot read 1 place any more."),
    N_("This disk cannot read %(n)s places any more."),
    N_("This disk has replaced %(n)s worn-out places by spare ones."),
    N_("This disk is hot: %(n)s °C."),
    N_("This disk is well. It has replaced %(n)s worn-out places."),
    N_("The copy differs from its original in %(n)s sectors."),
    N_("What the box knows of its mailbox disk cannot be read: %(why)s."),
    N_("Partition %(n)s"),
    N_("data of the kind %(kind)s"),
    N_("%(where)s: %(kind)s with the name “%(name)s”."),
    N_("%(where)s: %(kind)s."),
)
_BLANK = re.compile(r"%\((\w+)\)s")


@cache
def _pattern(sentence: str) -> re.Pattern[str]:
    parts = _BLANK.split(sentence)
    blanks = [rf"(?P<{p}>{r'[0-9]+' if p == 'n' else '.+?'})" for p in parts[1::2]] + [""]
    words = [re.escape(text) + blank for text, blank in zip(parts[::2], blanks, strict=True)]
    return re.compile("".join(words), re.DOTALL)


def told(text: str) -> str:
    """What the disks daemon said, in the language of the page; names of the disk as they are."""
    if (known := _(text)) != text:
        return known
    for sentence in SENTENCES:
        if found := _pattern(sentence).fullmatch(text):
            blanks = found.groupdict()
            # Where and what kind are words of ours, the rest is the disk's own.
            ours = {name: told(blanks[name]) for name in ("where", "kind") if name in blanks}
            return _(sentence, **{**blanks, **ours})
    return text


def note_of(text: str) -> tuple[datetime | None, str]:
    """What happened last: when, and the sentence."""
    when, colon, said = text.partition(": ")
    try:
        return (datetime.fromisoformat(when), told(said)) if colon else (None, told(text))
    except ValueError:
        return None, told(text)
