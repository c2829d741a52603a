"""The usual replies of large providers and usual mail servers, recognized by what they hold.

The first entry that fits decides. Patterns are looked for in the reply's text without its code,
in any case of letters. An entry of class 4 or 5 fits replies of that class alone, 0 both. What
nothing here fits is judged by its status code (reasons).
"""

# ruff: noqa: E501  (a pattern stays on one line, so that it can be searched for)

import re
from dataclasses import dataclass

from appliance.relay.say import Say

# Addresses in a reply are somebody's words, not the server's; the contacts of T-Online are its own.
_ADDRESS = re.compile(r"<[^<>\s]*@[^<>\s]*>|\b(?!to[sd]a@|fpf@)[\w.+%=-]+@[\w.-]+")
LONGEST_LOOKED_AT = 2_000  # characters; a reply may be long, the telling part comes first


@dataclass(frozen=True, slots=True)
class Known:
    """One usual reply."""

    pattern: re.Pattern[str]
    say: Say
    reply_class: int = 0  # 4, 5 or 0 for either


def _known(pattern: str, say: Say, reply_class: int = 0) -> Known:
    return Known(re.compile(pattern, re.IGNORECASE), say, reply_class)


KNOWN: tuple[Known, ...] = (
    # Microsoft: Outlook.com and Hotmail (S codes), Microsoft 365 (AS codes)
    _known(r"\(S3140\)|\(S3150\)|\bOU-00[12]\b|\bSC-00[1-4]\b", Say.MICROSOFT_BLOCKS),
    _known(r"\(S77[57]\)|\(S2017062302\)|\bRP-00[123]\b", Say.RATE_LIMITED),
    _known(
        r"5\.7\.(?:60[6-9]|6[1-4]\d)\b.*(?:banned|access denied)|delist\.office",
        Say.MICROSOFT_365_BLOCKS,
    ),
    _known(r"5\.7\.51[1-3]\b.*(?:banned|access denied)", Say.MICROSOFT_365_BLOCKS),
    _known(r"4\.7\.500\b|\bAS(?:77[0-9]{2}|76[0-9]{2}|84[0-9]{2}|78[0-9]{2})\b", Say.MICROSOFT_WAITS),
    _known(r"5\.7\.50[1-5]\b.*(?:spam|abuse|access denied)", Say.MICROSOFT_365_BLOCKS),
    _known(r"5\.7\.51[59]\b|does not meet the required authentication level", Say.UNPROVED),
    _known(r"TenantAttribution|tenant (?:allow|block)|5\.7\.703\b", Say.TENANT_BLOCKS),
    _known(r"5\.7\.750\b|unregistered domain", Say.SENDER_DOMAIN),
    _known(r"5\.4\.1\b.*recipient address rejected", Say.UNKNOWN_RECIPIENT),
    _known(r"5\.7\.133\b|RequireSenderAuth|5\.7\.129\b|RestrictedSenders", Say.NOT_ALLOWED),
    _known(r"4\.7\.321\b|starttls-not-supported", Say.TLS_WANTED),
    # Yahoo and AOL
    _known(r"\[TS(?:S0[4-9]|S1[01]|S0[1-2]|0[1-2])\]", Say.YAHOO_WAITS),
    _known(r"\[TS(?:S)?03\]|\[BL2[1-3]\]|permanently deferred", Say.YAHOO_BLOCKS),
    _known(r"\[PH01\]", Say.CONTENT_SPAM),
    _known(r"AUP#(?:CXSNDR|MXRT)", Say.RATE_LIMITED),
    # GMX, WEB.DE, mail.com
    _known(r"nemesis.*(?:bad dns ptr|ptr resource record)", Say.NAME_OF_ADDRESS),
    _known(r"bad dns ptr|dynamic or generic", Say.NAME_OF_ADDRESS),
    _known(r"nemesis.*(?:mailbox.*unavailable|unknown)|mailbox unavailable", Say.UNKNOWN_RECIPIENT),
    _known(r"nemesis|gmx\.(?:net|com)/(?:e|en/e)rror|postmaster\.(?:web\.de|gmx)", Say.GMX_BLOCKS),
    # T-Online
    _known(r"tosa@rx\.t-online\.de|toda@rx\.t-online|fpf@rx\.t-online", Say.TELEKOM_BLOCKS),
    # Apple
    _known(r"\[(?:HM|CS)\d\d\]|support\.apple\.com/(?:kb|en-us)/\S*HT204137", Say.APPLE_BLOCKS),
    # Google
    _known(
        r"5\.7\.26\b.*(?:dmarc|unauthenticated email from)|4\.7\.32\b|5\.7\.32\b", Say.DMARC_FAILS
    ),
    _known(r"[45]\.7\.27\b", Say.SPF_FAILS),
    _known(r"[45]\.7\.30\b", Say.DKIM_FAILS),
    _known(r"[45]\.7\.26\b.*(?:spf|dkim|authenticat)|blocked-unauthenticated", Say.UNPROVED),
    _known(r"[45]\.7\.29\b", Say.TLS_WANTED),
    _known(r"[45]\.7\.25\b", Say.NAME_OF_ADDRESS),
    _known(r"[45]\.7\.28\b|unusual rate of (?:unsolicited )?mail", Say.RATE_LIMITED),
    _known(r"likely (?:unsolicited|suspicious)|very low reputation", Say.GOOGLE_SUSPICIOUS),
    _known(r"content presents a potential security", Say.CONTENT_ATTACHMENT),
    _known(r"4\.2\.1\b.*(?:too quickly|rate)|receiving mail (?:at a rate|too)", Say.MAILBOX_BUSY),
    _known(r"5\.2\.1\b.*(?:disabled|inactive)|account (?:is |that you .*)?disabled", Say.MAILBOX_OFF),
    # Block lists
    _known(r"spamhaus.*(?:pbl|dynamic)|\bPBL\b|(?:dynamic|dial-?up|residential).{0,40}(?:ip|pool|address|connection)", Say.HOME_ADDRESS),
    _known(r"spamhaus", Say.SPAMHAUS),
    _known(
        r"spamcop|barracuda|sorbs|uceprotect|abuseat|cloudmark|proofpoint|mimecast|senderscore"
        r"|\b(?:dns)?[rb]bl\b|dnsbl|blocklist|black ?list|blocked using",
        Say.LISTED,
    ),
    # Names and proofs
    _known(
        r"(?:reverse (?:dns|lookup|hostname|name)|\bptr\b|\br-?dns\b|cannot find your (?:reverse )?"
        r"hostname|client host rejected: cannot find)",
        Say.NAME_OF_ADDRESS,
    ),
    _known(r"\bhelo\b.*(?:rejected|invalid|not found|need|must)|(?:bad|invalid) (?:helo|ehlo)", Say.BAD_HELO),
    _known(r"\bdmarc\b", Say.DMARC_FAILS, 5),
    _known(r"\bspf\b|sender policy framework", Say.SPF_FAILS),
    _known(r"\bdkim\b", Say.DKIM_FAILS),
    _known(r"5\.7\.2[01]\b", Say.DKIM_FAILS),
    _known(r"5\.7\.2[34]\b", Say.SPF_FAILS),
    _known(
        r"sender address rejected: (?:domain not found|unverified)|domain of sender|sender domain"
        r"|5\.1\.8\b|does not resolve",
        Say.SENDER_DOMAIN,
    ),
    # Ways in
    _known(r"5\.7\.10\b|5\.7\.4\b.*encrypt|must issue a starttls|requires? (?:tls|encryption)", Say.TLS_WANTED),
    _known(r"authentication (?:is )?required|must (?:first )?authenticate|\(#?5\.7\.3\)", Say.SIGN_IN_FIRST),
    _known(r"relay(?:ing)? (?:access )?(?:denied|not (?:permitted|allowed))|unable to relay|not permitted to relay", Say.NO_RELAYING),
    _known(r"null ?mx|5\.1\.10\b", Say.NULL_MX),
    _known(r"(?:does not accept|accepts no|no) (?:any )?(?:incoming )?mail\b", Say.TAKES_NO_MAIL),
    # How much
    _known(r"too many (?:recipients|rcpts)|[45]\.5\.3\b", Say.TOO_MANY_RECIPIENTS),
    _known(
        r"rate.?limit|too many (?:connections|messages|mails|sessions|concurrent)|throttl"
        r"|limit(?:s)? exceeded.*(?:rate|connection)|4\.7\.28|too much mail",
        Say.RATE_LIMITED,
        4,
    ),
    _known(r"too many (?:connections|messages)|sending (?:rate|limit)", Say.RATE_LIMITED),
    # Greylisting before the look at mailboxes: its words often name one
    _known(r"gr[ea]y.?list|postgrey|4\.2\.0\b.*come back", Say.GREYLISTED, 4),
    _known(r"over ?quota|quota exceeded|(?:mailbox|inbox|storage).{0,20}(?:is )?full|out of storage", Say.MAILBOX_FULL),
    _known(r"message (?:size )?exceeds|message (?:is )?too (?:big|large)|size limit", Say.TOO_BIG),
    # What is inside
    _known(r"virus|malware|infected", Say.CONTENT_VIRUS, 5),
    _known(r"attachment|file type|executable", Say.CONTENT_ATTACHMENT, 5),
    _known(r"\b(?:url|uri|link|surbl|uribl)\b", Say.CONTENT_LINK, 5),
    _known(
        r"(?:message|mail|content).{0,40}(?:spam|junk|bulk|unsolicited)|spam (?:message|score|content)"
        r"|(?:detected|classified|considered|rejected).{0,20}spam|spam.{0,12}(?:detected|rejected)",
        Say.CONTENT_SPAM,
    ),
    _known(r"rfc ?5322|missing (?:the )?(?:from|date|message-id)|header.{0,20}(?:missing|invalid|malformed)", Say.BAD_FORM, 5),
    # Mailboxes
    _known(
        r"(?:mailbox|account|user).{0,30}(?:disabled|suspended|inactive|deactivated|locked|frozen)",
        Say.MAILBOX_OFF,
    ),
    _known(
        r"user unknown|unknown (?:user|recipient|mailbox|address)|no such (?:user|mailbox|recipient"
        r"|address|person)|does ?n[o']t exist|does not have an? .{0,30}account|recipient (?:not"
        r" found|unknown)|no mailbox|unrouteable address|invalid (?:recipient|mailbox)",
        Say.UNKNOWN_RECIPIENT,
        5,
    ),
    _known(r"sender (?:address )?(?:rejected|denied|blocked|refused)|bad sender", Say.SENDER_REFUSED),
    _known(
        r"(?:temporary|dns).{0,20}(?:lookup|resolution) (?:failure|error)|temporary lookup", Say.LOOKUP_THERE, 4
    ),
)  # fmt: skip


def find(code: int, text: str) -> Say | None:
    """What a reply means, when it is one of the usual ones."""
    looked_at = _ADDRESS.sub("<>", text[:LONGEST_LOOKED_AT])
    for entry in KNOWN:
        if entry.reply_class in (0, code // 100) and entry.pattern.search(looked_at):
            return entry.say
    return None
