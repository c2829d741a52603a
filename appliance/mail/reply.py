"""SMTP replies as named values (RFC 5321 §4.2, enhanced codes RFC 3463).

One catalogue for all that the relay says to a client. A reply gives nothing away about the
inside of the box; what really happened stands in the mail log.
"""

import re
from dataclasses import dataclass, field

_UNPRINTABLE = re.compile(r"[^ -~]")


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply of one line. `enhanced` is empty only for the greeting, EHLO and 354."""

    code: int
    enhanced: str
    text: str
    wire: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        said = " ".join(filter(None, (self.enhanced, _UNPRINTABLE.sub("?", self.text))))
        object.__setattr__(self, "wire", f"{self.code} {said}\r\n".encode("ascii"))

    @property
    def is_error(self) -> bool:
        """Whether it refuses, for now or for good."""
        return self.code >= 400

    @property
    def is_permanent(self) -> bool:
        """Whether trying again is useless (5yz)."""
        return self.code >= 500

    def naming(self, words: str) -> "Reply":
        """The same reply with words added, such as the queue id."""
        return Reply(self.code, self.enhanced, f"{self.text} {words}")


# Going well
OK = Reply(250, "2.0.0", "OK")
SENDER_OK = Reply(250, "2.1.0", "Sender OK")
RECIPIENT_OK = Reply(250, "2.1.5", "Recipient OK")
QUEUED = Reply(250, "2.0.0", "OK queued as")
START_DATA = Reply(354, "", "End data with <CR><LF>.<CR><LF>")
SIGNED_IN = Reply(235, "2.7.0", "Signed in")
START_TLS = Reply(220, "2.0.0", "Ready to start TLS")
BYE = Reply(221, "2.0.0", "Bye")
CANNOT_VERIFY = Reply(252, "2.5.2", "Cannot verify, but will take mail and try to deliver it")
HELP = Reply(214, "2.0.0", "EHLO HELO MAIL RCPT DATA RSET NOOP QUIT VRFY STARTTLS")

# Closing the connection
SHUTTING_DOWN = Reply(421, "4.3.2", "Service going down, try again later")
SWITCHED_OFF = Reply(421, "4.3.2", "The mail service is switched off")
TIMED_OUT = Reply(421, "4.4.2", "Timed out, closing the connection")
TOO_MANY_CONNECTIONS = Reply(421, "4.7.0", "Too many connections, try again later")
TOO_MANY_ERRORS = Reply(421, "4.7.0", "Too many errors, closing the connection")
UNANNOUNCED_DATA = Reply(554, "5.5.0", "Data sent before it was asked for, closing")

# Not now
TRY_AGAIN = Reply(451, "4.3.0", "Temporary trouble here, try again later; id")
TRY_LATER = Reply(451, "4.3.5", "This address is being looked after, try again later")
SENDER_DOMAIN_UNKNOWN = Reply(450, "4.1.8", "Cannot look your sender's domain up now, try later")
LISTED_FOR_NOW = Reply(450, "4.7.1", "Try again later: your address is on the block list")
NOT_AUTHENTICATED = Reply(
    550, "5.7.26", "The domain in From does not vouch for this message (DMARC)"
)
GREYLISTED = Reply(450, "4.7.1", "You are new here, and mail from you is welcome")
GREYLISTED_UNSIGNED = Reply(451, "4.7.1", GREYLISTED.text)  # after the message
STORAGE_FULL = Reply(452, "4.3.1", "Not enough room for mail, try again later")
TOO_MANY_RECIPIENTS = Reply(452, "4.5.3", "Too many recipients, send the rest apart")
NO_TLS_NOW = Reply(454, "4.7.0", "TLS is not available")

SIGN_IN_LATER = Reply(454, "4.7.0", "Too many wrong passwords, try again later")
SIGN_IN_BUSY = Reply(454, "4.7.0", "Signing in is not possible just now, try again in a minute")
TOO_MUCH_MAIL = Reply(450, "4.7.1", "You have sent very much in the last hour, try again later")
BRAKE_IS_ON = Reply(450, "4.7.1", "Your mail waits until the administrator has looked at it")

# Not like that
LINE_TOO_LONG = Reply(500, "5.5.2", "Line too long")
BARE_NEWLINE_IN_COMMAND = Reply(500, "5.5.2", "Commands must end with CR LF and hold no controls")
NOT_UTF8 = Reply(500, "5.5.2", "Command is not valid text")
UNKNOWN_COMMAND = Reply(500, "5.5.2", "Command not recognised")
BAD_SYNTAX = Reply(501, "5.5.4", "Syntax error in parameters")
BAD_HELO = Reply(501, "5.5.4", "That is not a host name or an address literal")
NOT_IMPLEMENTED = Reply(502, "5.5.1", "Command not implemented")
HELO_FIRST = Reply(503, "5.5.1", "Say EHLO first")
MAIL_FIRST = Reply(503, "5.5.1", "MAIL FROM comes first")
RCPT_FIRST = Reply(503, "5.5.1", "No valid recipients")
NESTED_MAIL = Reply(503, "5.5.1", "Sender already given")
TLS_ALREADY = Reply(503, "5.5.1", "TLS is already on")
TLS_FIRST = Reply(530, "5.7.0", "Issue STARTTLS first")
SIGN_IN_FIRST = Reply(530, "5.7.0", "Sign in first")
EHLO_FIRST = Reply(503, "5.5.1", "Say EHLO first")
SIGNED_IN_ALREADY = Reply(503, "5.5.1", "You are signed in already")
NO_SIGN_IN_NOW = Reply(503, "5.5.1", "Sign in before you begin a message")
SIGN_IN_CANCELLED = Reply(501, "5.7.0", "Signing in was cancelled")
BAD_BASE64 = Reply(501, "5.5.2", "That is not name and password in base64")
UNKNOWN_MECHANISM = Reply(504, "5.5.4", "This way of signing in is not known here")
WRONG_PASSWORD = Reply(535, "5.7.8", "User name and password do not fit together")
ENCRYPT_FIRST = Reply(538, "5.7.11", "Issue STARTTLS first, passwords are taken encrypted only")
BAD_SENDER = Reply(553, "5.1.7", "Malformed sender address")
BAD_RECIPIENT = Reply(553, "5.1.3", "Malformed recipient address")
NEEDS_SMTPUTF8 = Reply(553, "5.6.7", "Address needs SMTPUTF8")
UNKNOWN_PARAMETER = Reply(555, "5.5.4", "Parameter not recognised")

# Not at all
UNKNOWN_MAILBOX = Reply(550, "5.1.1", "No such mailbox here")
LISTED = Reply(550, "5.7.1", "Your address is on the block list")
NO_SENDER_DOMAIN = Reply(550, "5.1.8", "Your sender's domain does not exist")
SENDER_TAKES_NO_MAIL = Reply(550, "5.7.27", "Your sender's domain takes no mail (null MX)")
FORBIDDEN_SENDER = Reply(550, "5.7.1", "Mail from this sender is not taken here")
FORBIDDEN_CLIENT = Reply(554, "5.7.1", "No mail is taken from your address")
NO_MAILBOX_STORAGE = Reply(550, "5.1.1", "No mailboxes are kept here, this address has none")
NOT_YOUR_ADDRESS = Reply(550, "5.7.1", "You may send only with an address of your own")
NOT_YOUR_FROM = Reply(
    553, "5.7.1", "From and Sender of your message must be addresses of your own account"
)
ONE_RECIPIENT = Reply(550, "5.7.1", "Mail without a sender goes to one recipient only")
NO_RELAYING = Reply(550, "5.7.1", "Relaying not permitted")
AMBIGUOUS_FROM = Reply(550, "5.6.0", "Message must name exactly one sender in its From field")
BARE_NEWLINE = Reply(550, "5.5.2", "Message holds a CR or LF alone, which is not allowed")
NUL_IN_MESSAGE = Reply(550, "5.6.0", "Message holds a NUL, which is not allowed")
MESSAGE_TOO_BIG = Reply(552, "5.3.4", "Message is bigger than allowed here")
HEADER_TOO_BIG = Reply(552, "5.3.4", "Message header is bigger than allowed here")
FORWARDED_BEFORE = Reply(
    554, "5.4.6", "Forwarded here before, this message is going round in circles"
)
TOO_MANY_ADDRESSES = Reply(552, "5.5.3", "Message names too many addresses in To and Cc")
TOO_DEEP = Reply(554, "5.6.0", "Message is nested too deep")
TOO_MANY_PARTS = Reply(554, "5.6.0", "Message has too many parts")
LOOKS_LIKE_SPAM = Reply(550, "5.7.1", "Message looks like spam and is not taken here")
HOLDS_VIRUS = Reply(550, "5.7.1", "Message holds a virus and is not taken here")
FORBIDDEN_ATTACHMENT = Reply(550, "5.7.1", "Message holds a file of a kind that is not taken here")
CLOSED_ARCHIVE = Reply(550, "5.7.1", "Message holds an archive that cannot be looked into")
LOOP = Reply(554, "5.4.6", "Too many hops, this message is going round in circles")
