"""What is asked about a stranger before mail is taken (FEATURES S3, S4, F1)."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.settings import parse
from appliance.settings.describe import choice, list_of, number, switch

DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """The gates before the content."""

    check_sender_domain: bool = switch(
        True,
        "The sender's domain must exist",
        "Mail from domains that the DNS does not know is refused: nobody could answer it.",
    )
    check_spf: bool = switch(
        True,
        "Check SPF",
        "Whether the sender's domain lets this server send for it. Nothing is refused for that "
        "alone; DMARC and greylisting use it.",
    )
    check_dkim: bool = switch(
        True,
        "Check signatures (DKIM, ARC)",
        "Who signed a message, and whether it came unchanged. A broken signature counts as none.",
    )
    dmarc: str = choice(
        "follow",
        ("off", "note", "quarantine", "follow"),
        "Check the sender in the letter (DMARC)",
        "follow: mail that pretends to be from a domain is refused, or taken as junk, as that "
        "domain asks. quarantine: at most taken as junk. note: only written into the header.",
    )
    # Off until somebody decides it: a list is asked about each caller, so a stranger learns who
    # writes to this office, and the large lists have terms of use for businesses.
    dnsbl: bool = switch(
        False,
        "Ask block lists (DNSBL)",
        "Callers on one of the lists below are refused. A list has to prove itself before it "
        "counts, and one that fails or lists everybody is suspended by itself.",
    )
    dnsbl_zones: tuple[str, ...] = list_of(
        ("zen.spamhaus.org", "bl.spamcop.net"),
        parse.mail_domain,
        "zone",
        "Block lists",
        "The zones to ask. Read the terms of a list before using it in a business.",
    )
    permitted_skip_dnsbl: bool = switch(
        False,
        "Permitted IP addresses skip the block lists",
        "Off: block lists hold for permitted senders too; the trace then says so.",
    )
    # Off: a first letter waits for minutes with it, a log-in code with it.
    greylist: bool = switch(
        False,
        "Greylisting",
        "Strangers are asked to come back, as real mail servers do. Whom you have written to, "
        "and who came back before, is not delayed.",
    )
    greylist_delay_seconds: int = number(
        180, 1, 3600, "seconds", "Come back after", "A try before that does not count."
    )
    greylist_window_seconds: int = number(
        2 * DAY_SECONDS,
        60,
        7 * DAY_SECONDS,
        "seconds",
        "Come back within",
        "Later it counts as the first try again.",
    )
    greylist_memory_days: int = number(
        36, 1, 365, "days", "Remembered for", "Who came back is known for so long."
    )
