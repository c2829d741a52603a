"""Domain names as mail uses them: one canonical form, compared by bytes.

A `Domain` is kept in its ASCII form (A-labels, RFC 5890), lower case and without
a trailing dot, so that two spellings of one domain are equal. `display` gives the
form that people type.
"""

from __future__ import annotations

import re

_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\Z")
_HOST_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\Z")
MAX_DOMAIN_OCTETS = 253  # RFC 1035 §2.3.4, without the root's length octet and dot


def normalise(text: str) -> str:
    """The ASCII form of the domain `text`.

    Raises ValueError with a sentence that names what is wrong. Underscores are
    taken (they occur in DNS names); use `normalise_hostname` for names of hosts.
    """
    return _normalise(text, _LABEL)


def normalise_hostname(text: str) -> str:
    """As `normalise`, for the name of a host or mail domain (RFC 1123 §2.1: no underscore)."""
    return _normalise(text, _HOST_LABEL)


def _normalise(text: str, label_form: re.Pattern[str]) -> str:
    name = text.strip().rstrip(".").lower()
    if not name:
        raise ValueError("A domain name is missing.")
    if not name.isascii():
        try:
            name = name.encode("idna").decode("ascii")
        except UnicodeError as error:
            raise ValueError(f"“{text}” is not a domain name.") from error
    if len(name) > MAX_DOMAIN_OCTETS:
        raise ValueError(f"“{text[:40]}…” is longer than a domain name may be (253 characters).")
    for label in name.split("."):
        if not label:
            raise ValueError(f"“{text}” has two dots in a row or begins with a dot.")
        if len(label) > 63:
            raise ValueError(f"“{label[:20]}…” is longer than 63 characters.")
        if not label_form.match(label):
            raise ValueError(f"“{label}” has a character that a domain name may not have.")
    return name


def is_qualified(name: str) -> bool:
    """Whether `name` has at least two labels and does not end in a number (so is no address)."""
    labels = name.split(".")
    return len(labels) >= 2 and not labels[-1].isdigit()


def display(name: str) -> str:
    """The form people type: A-labels shown as letters where that is possible."""
    try:
        return name.encode("ascii").decode("idna")
    except UnicodeError:
        return name
