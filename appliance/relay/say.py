"""What may be said about a delivery, and what somebody may do about it: the texts alone.

`Say` is one sentence; `NEXT_STEP` has what helps, where anything does. Both are shown on the
queue page, in the trace, by the CLI and in reports to senders.
"""

from enum import StrEnum


class Say(StrEnum):
    """The catalogue."""

    DELIVERED = "The next mail server took the message."
    REFUSED_CONNECTION = "The next mail server refuses connections: it may be off."
    NO_ROUTE = "There is no way to the next mail server: the network may be down."
    TIMED_OUT = "The next mail server did not answer in time."
    LOST = "The connection broke off."
    LOST_AFTER_DATA = "The connection broke off after the message was sent, before the answer."
    NAME_NOT_FOUND = "The recipient's domain does not exist."
    HOST_NOT_FOUND = "The name of the next mail server does not exist."
    NO_ADDRESS = "The recipient's domain has no mail server."
    NAME_TROUBLE = "The name of the next mail server could not be looked up just now."
    NULL_MX = "The recipient's domain says that it takes no mail."
    OWN_MX = "The recipient's domain names this box as its mail server, but it is not set up here."
    NO_MAILBOX = "There is no such mailbox on this box."
    NOT_SMTP = "The next mail server answers in a way that is not understood."
    TLS_MISSING = "The smarthost offers no encryption, which the settings require."
    TLS_FAILED = "The encrypted connection could not be made."
    TLS_UNTRUSTED = "The certificate of the next mail server is not valid for its name."
    STS_UNMET = "The recipient's domain asks for a protection (MTA-STS) that its server lacks."
    STS_NOT_NAMED = "The recipient's domain has no mail server that its own policy (MTA-STS) names."
    DANE_UNMET = "The next mail server does not prove to be the one that its domain names (DANE)."
    DANE_TROUBLE = "The keys of the next mail server (DANE) could not be looked up just now."
    SIGN_IN_REFUSED = "The smarthost does not accept the user name and password."
    SIGN_IN_MISSING = "The smarthost offers no way to sign in that is known here."
    NEEDS_SMTPUTF8 = "The next mail server cannot take addresses with these letters."
    TOO_BIG = "The message is too big for the next mail server."
    UNKNOWN_RECIPIENT = "The next mail server does not know this recipient."
    MAILBOX_FULL = "The recipient's mailbox is full."
    GREYLISTED = "The next mail server asks to come back later (greylisting)."
    LISTED = "The next mail server refuses this box's address: it may be on a block list."
    BUSY = "The next mail server is busy or going down."
    NO_ROOM = "The next mail server is out of room."
    BY_RULES = "The next mail server refused the message by its rules."
    LOOP = "The message goes in a circle."
    NOT_NOW = "The next mail server cannot take the message just now."
    REFUSED = "The next mail server refused the message."
    BODY_GONE = "The message cannot be read from the disk just now."
    BAD_CONTENT = "The message holds line ends that must not be passed on."
    INTERNAL = "Something went wrong here; the log has the details."
    # What large providers and usual servers mean (replies_known)
    RATE_LIMITED = "The next mail server takes no more mail from this box for a while."
    GOOGLE_SUSPICIOUS = "Google thinks that this mail is unwanted."
    MICROSOFT_BLOCKS = "Microsoft (Outlook, Hotmail) blocks this box's address."
    MICROSOFT_365_BLOCKS = "Microsoft 365 blocks this box's address."
    MICROSOFT_WAITS = "Microsoft takes little mail from this box until it knows it better."
    TENANT_BLOCKS = "The recipient's own organization blocks this sender or this box."
    YAHOO_WAITS = "Yahoo puts mail of this box off because of complaints or too much mail."
    YAHOO_BLOCKS = "Yahoo refuses mail of this box for good."
    GMX_BLOCKS = "GMX and WEB.DE refuse this box's address or its name."
    TELEKOM_BLOCKS = "T-Online refuses this box's address."
    APPLE_BLOCKS = "Apple (iCloud) refuses mail of this box."
    SPAMHAUS = "This box's address is on a block list of Spamhaus."
    HOME_ADDRESS = "The next mail server takes no mail from addresses of home connections."
    NAME_OF_ADDRESS = "The box's address has no name in DNS, or the name does not lead back to it."
    BAD_HELO = "The next mail server does not accept the name by which this box introduces itself."
    SPF_FAILS = "The sender's domain does not name this box in its SPF record."
    DKIM_FAILS = "The next mail server asks for a valid DKIM signature."
    DMARC_FAILS = (
        "The sender's domain asks to refuse mail that is not proved to be its own (DMARC)."
    )
    UNPROVED = "The next mail server asks for SPF or DKIM of the sender's domain."
    SENDER_DOMAIN = "The sender's domain does not exist or cannot be answered."
    SENDER_REFUSED = "The next mail server does not take mail from this sender."
    SIGN_IN_FIRST = "The next mail server wants a user name and a password first."
    NO_RELAYING = "The next mail server is not responsible for the recipient's domain."
    TLS_WANTED = "The next mail server takes mail over encrypted connections only."
    CONTENT_SPAM = "The next mail server takes the message for unwanted advertising."
    CONTENT_VIRUS = "The next mail server thinks that the message holds a virus."
    CONTENT_LINK = "The next mail server refuses a link in the message."
    CONTENT_ATTACHMENT = "The next mail server refuses a kind of attachment in the message."
    BAD_FORM = "The next mail server finds the message's form wrong."
    TOO_MANY_RECIPIENTS = "The message has more recipients than the next mail server takes at once."
    MAILBOX_OFF = "The recipient's mailbox is switched off or takes no mail."
    MAILBOX_BUSY = "The recipient gets too much mail at the moment."
    NOT_ALLOWED = "The recipient takes mail from certain senders only."
    TAKES_NO_MAIL = "The next server says that it takes no mail at all."
    LOOKUP_THERE = "The next mail server could not look something up just now."


_WAIT = "You need not do anything: the box tries again by itself."
_ASK_RECIPIENT = "Ask the recipient in another way, by telephone for instance."
_OWN_DNS = "Open the DNS guide and publish what is missing there."

NEXT_STEP: dict[Say, str] = {
    Say.REFUSED_CONNECTION: "Nothing for now; if it lasts, ask who runs that server.",
    Say.NO_ROUTE: "Look at the box's network connection and its gateway.",
    Say.TIMED_OUT: (
        "If all outgoing mail times out, the line may block port 25: ask the provider or send "
        "through a smarthost."
    ),
    Say.LOST: _WAIT,
    Say.LOST_AFTER_DATA: "Nothing: it is tried again. The recipient may get the message twice.",
    Say.NAME_NOT_FOUND: "Check how the address is spelled behind the @.",
    Say.HOST_NOT_FOUND: "Check the name of the next hop under Settings.",
    Say.NO_ADDRESS: "Check how the address is spelled behind the @.",
    Say.NAME_TROUBLE: _WAIT,
    Say.NULL_MX: "Check the address: nobody can get mail in this domain.",
    Say.OWN_MX: "Add the domain under Settings, Mail, or correct its MX record.",
    Say.NO_MAILBOX: "Check the address, or make the mailbox or an alias.",
    Say.NOT_SMTP: "Check that the next hop is a mail server and its port is right.",
    Say.TLS_MISSING: "Check the smarthost's port and encryption under Settings, Outgoing mail.",
    Say.TLS_FAILED: "Check the smarthost's port and encryption under Settings, Outgoing mail.",
    Say.TLS_UNTRUSTED: "Check the next hop's name; its administrator can renew the certificate.",
    Say.STS_UNMET: _ASK_RECIPIENT,
    Say.STS_NOT_NAMED: _ASK_RECIPIENT,
    Say.DANE_UNMET: _ASK_RECIPIENT,
    Say.DANE_TROUBLE: _WAIT,
    Say.SIGN_IN_REFUSED: "Type the smarthost's user name and password anew.",
    Say.SIGN_IN_MISSING: "Ask the smarthost's provider which port has a log-in with a password.",
    Say.NEEDS_SMTPUTF8: "Write from and to addresses in plain letters, or ask for another address.",
    Say.TOO_BIG: "Send it in parts, or share the file by a link.",
    Say.UNKNOWN_RECIPIENT: "Check how the address is spelled.",
    Say.MAILBOX_FULL: _ASK_RECIPIENT,
    Say.GREYLISTED: _WAIT,
    Say.LISTED: (
        "Follow the link in the reply, find out why the address is listed, and ask for removal."
    ),
    Say.BUSY: _WAIT,
    Say.NO_ROOM: _WAIT,
    Say.BY_RULES: "Read the other server's words; its administrator can say which rule it was.",
    Say.LOOP: "Look for a forwarding that leads back to this box.",
    Say.NOT_NOW: _WAIT,
    Say.REFUSED: "Read the other server's words, and ask its administrator if they do not help.",
    Say.BODY_GONE: "Look at the disk's state.",
    Say.BAD_CONTENT: "Send it anew with another mail program.",
    Say.INTERNAL: "Look at the log.",
    Say.RATE_LIMITED: (
        "Nothing for single messages; spread mass mail over hours, and look for an account that "
        "sends what it should not."
    ),
    Say.GOOGLE_SUSPICIOUS: (
        "Check SPF, DKIM and DMARC in the DNS guide, and the domain's standing at "
        "postmaster.google.com."
    ),
    Say.MICROSOFT_BLOCKS: "Ask Microsoft to lift the block at olcsupport.office.com.",
    Say.MICROSOFT_365_BLOCKS: "Ask Microsoft to lift the block at sender.office.com.",
    Say.MICROSOFT_WAITS: "Send little mail at first. It gets better within days by itself.",
    Say.TENANT_BLOCKS: "Ask the recipient's administrator to permit the sender.",
    Say.YAHOO_WAITS: (
        "Send less at once, look for complaints, and read senders.yahooinc.com if it lasts."
    ),
    Say.YAHOO_BLOCKS: "Find the cause, then ask for removal at senders.yahooinc.com.",
    Say.GMX_BLOCKS: "Check the address's name in the DNS guide, then write by postmaster.gmx.net.",
    Say.TELEKOM_BLOCKS: (
        "Give the box a name with a web page that says who runs it, then write to "
        "tosa@rx.t-online.de."
    ),
    Say.APPLE_BLOCKS: "Check SPF and DKIM in the DNS guide, then write to icloudadmin@apple.com.",
    Say.SPAMHAUS: "Look the address up at check.spamhaus.org; it says why, and how to be removed.",
    Say.HOME_ADDRESS: "Send through your provider's smarthost (Settings, Outgoing mail).",
    Say.NAME_OF_ADDRESS: (
        "Have your provider set the address's reverse name (PTR) to the host name of this box."
    ),
    Say.BAD_HELO: "Check the host name under Settings, Mail: it must lead to the box's address.",
    Say.SPF_FAILS: "Publish the SPF record of the DNS guide for the sender's domain.",
    Say.DKIM_FAILS: "Switch signing on for the sender's domain and publish its DKIM record.",
    Say.DMARC_FAILS: (
        "Send with an address of your own domain, and publish its SPF and DKIM records (DNS guide)."
    ),
    Say.UNPROVED: _OWN_DNS,
    Say.SENDER_DOMAIN: "Check the sender's address, and that its domain has an MX record.",
    Say.SENDER_REFUSED: _ASK_RECIPIENT,
    Say.SIGN_IN_FIRST: "Enter user name and password of the smarthost under Outgoing mail.",
    Say.NO_RELAYING: (
        "Check the address. If it is right, its MX record or the next hop names the wrong server."
    ),
    Say.TLS_WANTED: "Set TLS to opportunistic under Settings, Outgoing mail.",
    Say.CONTENT_SPAM: "Write it in other words, with fewer links and pictures, and send it again.",
    Say.CONTENT_VIRUS: "Check the computer it came from for viruses.",
    Say.CONTENT_LINK: "Leave the link out and send it again.",
    Say.CONTENT_ATTACHMENT: "Share the file by a link instead.",
    Say.BAD_FORM: "Send it anew with another mail program.",
    Say.TOO_MANY_RECIPIENTS: "Nothing: the rest is tried again by itself.",
    Say.MAILBOX_OFF: _ASK_RECIPIENT,
    Say.MAILBOX_BUSY: _WAIT,
    Say.NOT_ALLOWED: "Ask the recipient's administrator to permit the sender.",
    Say.TAKES_NO_MAIL: "Check the address, and ask the recipient for another one.",
    Say.LOOKUP_THERE: _WAIT,
}
_LAST_REASON = "Last reason: "


def next_step(say: str) -> str:
    """What helps, for a sentence of the catalogue as it was stored; empty when nothing does."""
    try:
        return NEXT_STEP.get(Say(say.rpartition(_LAST_REASON)[2]), "")
    except ValueError:  # stored by another version
        return ""
