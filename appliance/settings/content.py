"""The settings of the content station: spam, viruses and attachments (FEATURES F1 6 and 7)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from appliance.settings import parse
from appliance.settings.describe import choice, list_of, number, switch, text
from appliance.settings.parse import JSON, Bad

MIB = 1024 * 1024
SCANNER_PORT = 11333  # rspamd's normal worker
CLAMD_PORT = 3310
# What Windows runs or mounts at a double click. Office files with macros are not among them:
# offices send each other those.
_FORBIDDEN = (
    "ade adp bat chm cmd com cpl exe hta img iso jar js jse lnk msc msi msp mst ocx pif ps1 "
    "reg scr sct settingcontent-ms vb vbe vbs vhd vhdx wsc wsf wsh xll"
)
FORBIDDEN = tuple(_FORBIDDEN.split())


def scanner(raw: JSON) -> str:
    """`host:port` from an address, a name, or a URL of the form http://host:port."""
    value = parse.text()(raw)
    if "://" in value:
        kind, _, value = value.partition("://")
        if kind.lower() != "http":
            raise Bad("A scanner is asked by http.", "Write it as http://10.20.30.40:11333.")
        value = value.rstrip("/")
    host, port = parse.host_and_port(value, SCANNER_PORT)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def clamd(raw: JSON) -> str:
    """`host:port` of a clamd."""
    host, port = parse.host_and_port(parse.text()(raw), CLAMD_PORT)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def extension(raw: JSON) -> str:
    """The end of a file name, without its dot, in lower case."""
    value = parse.text(20)(raw).lower().removeprefix("*").lstrip(".")
    if not re.fullmatch(r"[a-z0-9_-]{1,20}", value):
        raise Bad(f"“{value}” is not the end of a file name.", "Write it as exe or .exe.")
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What is looked for in messages, and what becomes of them."""

    spam: str = choice(
        "auto",
        ("auto", "on", "off"),
        "Spam filter",
        "auto: on when the box has at least 1 GB of memory; the filter (rspamd) takes about "
        "130 MB of it.",
    )
    scanner: str = text(
        "",
        parse.optional(scanner),
        "Scanner",
        "Empty: the box's own rspamd. Otherwise a rspamd elsewhere, such as 10.20.30.40:11333; "
        "it then reads all mail that is checked.",
    )
    mark_score: int = number(
        6, 1, 1000, "points", "Mark from", "The message gets the field X-Spam-Flag: YES."
    )
    junk_score: int = number(
        8, 0, 1000, "points", "Junk from", "The message goes to the folder Junk. 0: never."
    )
    quarantine_score: int = number(
        0,
        0,
        1000,
        "points",
        "Keep back from",
        "The message waits in the queue until somebody lets it go. 0: never.",
    )
    refuse_score: int = number(
        15,
        0,
        1000,
        "points",
        "Refuse from",
        "The sender's server is told that the message looks like spam. 0: never.",
    )
    subject_tag: str = text(
        "",
        parse.text(40),
        "Mark in the subject",
        "Put in front of the subject of marked mail for relay domains, such as [SPAM]. Empty: "
        "the subject stays as it is. A changed subject breaks the sender's DKIM signature.",
    )
    ask_lists: bool = switch(
        True,
        "Ask public block lists about links",
        "rspamd asks four lists of known spam links by DNS, which then see the domains in "
        "messages.",
    )
    spam_for_own: bool = switch(
        False,
        "Check mail of our own people for spam",
        "Mail from trusted networks and from people who signed in.",
    )
    timeout_seconds: int = number(
        20,
        1,
        120,
        "seconds",
        "Longest wait for the scanner",
        "Then the message goes on without a judgement, and says so in its header.",
    )
    scan_bytes: int = number(
        10 * MIB,
        MIB,
        100 * MIB,
        "bytes",
        "Scan messages up to",
        "Larger ones are looked through neither for spam nor for viruses, and their header says "
        "so. Spam is hardly ever that large.",
    )
    virus: bool = switch(
        False,
        "Look for viruses",
        "The box hands each attachment to the ClamAV whose address is below. It is a machine of "
        "yours with at least 4 GB of memory.",
    )
    clamav: str = text(
        "",
        parse.optional(clamd),
        "Address of ClamAV",
        "Where ClamAV's program clamd answers, such as 10.20.30.40:3310. ClamAV is not part of "
        "the box; without an address no viruses are looked for.",
    )
    virus_action: str = choice(
        "refuse",
        ("refuse", "quarantine"),
        "Messages with a virus",
        "refuse: the sender's server is told. quarantine: the message waits in the queue.",
    )
    virus_for_permitted: bool = switch(
        True,
        "Look for viruses from permitted senders too",
        "Permitted senders are never checked for spam; their computers catch viruses as well.",
    )
    forbidden_attachments: tuple[str, ...] = list_of(
        FORBIDDEN,
        extension,
        "extension",
        "Forbidden attachments",
        "Files with these endings are not taken, nor archives (ZIP, TAR, RAR) that hold one.",
    )
    attachment_action: str = choice(
        "refuse",
        ("refuse", "quarantine"),
        "Messages with a forbidden attachment",
        "refuse: the sender's server is told. quarantine: the message waits in the queue.",
    )
    closed_archives: str = choice(
        "accept",
        ("accept", "quarantine", "refuse"),
        "Archives that cannot be looked into",
        "Encrypted ones, and those of a kind or a size that the box does not read.",
    )
