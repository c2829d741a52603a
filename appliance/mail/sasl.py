"""What clients say in AUTH (RFC 4954) with PLAIN (RFC 4616) and LOGIN. Pure."""

import base64
import binascii
from dataclasses import dataclass, field

MECHANISMS = ("PLAIN", "LOGIN")
CANCEL = "*"
# What LOGIN's clients are asked; the words are those that all of them expect.
ASK_USER = base64.b64encode(b"Username:").decode()
ASK_PASSWORD = base64.b64encode(b"Password:").decode()


class SaslError(ValueError):
    """What came is not base64, or not what the mechanism says."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who somebody says to be, and the proof."""

    user: str
    password: str = field(repr=False)


def initial_response(text: str) -> str | None:
    """What stands behind the mechanism: None when nothing does; `=` is an empty one."""
    return None if not text else "" if text == "=" else text


def decode(text: str) -> str:
    """Strict base64 of UTF-8. Raises SaslError."""
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise SaslError("not base64 of UTF-8") from error


def plain(text: str) -> Credentials:
    """`[authzid] NUL authcid NUL passwd`, in base64. Raises SaslError.

    To act for somebody else is not offered: an authzid has to be the same name.
    """
    parts = decode(text).split("\0")
    if len(parts) != 3 or not parts[1] or not parts[2]:
        raise SaslError("not name and password")
    wanted, user, password = parts
    if wanted and wanted.casefold() != user.casefold():
        return Credentials("", password)  # nobody: refused like a wrong password
    return Credentials(user, password)
