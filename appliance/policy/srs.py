"""The Sender Rewriting Scheme: forwards that leave the box pass SPF, and their bounces come home.

    anna@example.com, forwarded by box.example   SRS0=hash=day=example.com=anna@box.example
    that again, by another forwarder             SRS1=hash=box.example==hash=day=...@other.example

The hash (HMAC-SHA-256, 40 bits) keeps strangers from using the box as a relay, the day (two
letters, days since 1970 modulo 1024) lets an address die after `VALID_DAYS`. Letters of either
case are the same to the hash, for some servers change them. Pure: the secret and the time are
handed in.

An address of the box may become longer than the 64 octets of a local part; `mail/address.py`
takes such ones when they begin with SRS.
"""

import base64
import hmac
import re
from collections.abc import Collection
from datetime import datetime

from appliance.mail.address import Address, AddressError, domain_key, parse

VALID_DAYS = 21
HASH_LETTERS = 8
_DAY_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_CYCLE = len(_DAY_LETTERS) ** 2
_SECONDS_A_DAY = 86_400

_SRS0 = re.compile(r"SRS0[=+-]", re.IGNORECASE)
_SRS1 = re.compile(r"SRS1[=+-]([^=]+)=([^=]*)=(.+)\Z", re.IGNORECASE | re.DOTALL)
_OURS0 = re.compile(r"SRS0[=+-]([^=]+)=([^=]{2})=([^=]*)=(.+)\Z", re.IGNORECASE | re.DOTALL)
_ATEXT = r"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~\u0080-\U0010FFFF]+"
_ATOMS = re.compile(rf"{_ATEXT}(?:\.{_ATEXT})*\Z")


def forward(sender: Address, *, domain: str, secret: bytes, now: datetime) -> Address:
    """The sender to forward with. A bounce to it comes to `domain`, ours."""
    local = _unquoted(sender.local)
    if found := _SRS1.match(local):
        # Somebody forwarded a forward: only the first forwarder needs to be remembered.
        return _ours(_srs1(found[2], found[3], secret), domain)
    if _SRS0.match(local):
        return _ours(_srs1(_domain_text(sender), local[4:], secret), domain)
    day = _day(now)
    of = _domain_text(sender)
    hashed = _hash(secret, f"{day}={of}={sender.local}")
    return _ours(f"SRS0={hashed}={day}={of}={sender.local}", domain)


def reverse(
    address: Address, *, domains: Collection[str], secret: bytes, now: datetime
) -> Address | None:
    """Whom a bounce to `address` is for; None when the address is not ours, false or too old."""
    if address.domain_key not in domains:
        return None
    local = _unquoted(address.local)
    try:
        if found := _SRS1.match(local):
            hashed, of, rest = found.groups()
            if not _is_hash(hashed, secret, f"{of}={rest}"):
                return None
            return parse(f"{_quoted(f'SRS0{rest}')}@{of}")
        if found := _OURS0.match(local):
            hashed, day, of, rest = found.groups()
            if not _is_hash(hashed, secret, f"{day}={of}={rest}") or not _in_time(day, now):
                return None
            return parse(f"{rest}@{of}") if of else Address(rest, "", "")
    except AddressError:
        return None
    return None


def is_srs(address: Address) -> bool:
    """Whether the address looks like one that a forwarder made (F1 station 1: ask `reverse`)."""
    local = _unquoted(address.local)
    return bool(_SRS1.match(local) or _OURS0.match(local))


def _srs1(first: str, rest: str, secret: bytes) -> str:
    return f"SRS1={_hash(secret, f'{first}={rest}')}={first}={rest}"


def _domain_text(sender: Address) -> str:
    """As it was written; as A-labels where that spares the address SMTPUTF8."""
    if sender.local.isascii() and not sender.domain.isascii():
        return sender.domain_key
    return sender.domain


def _ours(local: str, domain: str) -> Address:
    return Address(_quoted(local), domain, domain_key(domain))


def _hash(secret: bytes, text: str) -> str:
    digest = hmac.digest(secret, text.lower().encode("utf-8", "surrogatepass"), "sha256")
    return base64.b32encode(digest)[:HASH_LETTERS].decode("ascii")


def _is_hash(given: str, secret: bytes, text: str) -> bool:
    wanted = _hash(secret, text)
    return hmac.compare_digest(given.upper().encode("utf-8", "replace"), wanted.encode("ascii"))


def _day(now: datetime) -> str:
    day = int(now.timestamp() // _SECONDS_A_DAY) % _CYCLE
    high, low = divmod(day, len(_DAY_LETTERS))
    return _DAY_LETTERS[high] + _DAY_LETTERS[low]


def _in_time(letters: str, now: datetime) -> bool:
    high, low = (_DAY_LETTERS.find(letter) for letter in letters.upper())
    if high < 0 or low < 0:
        return False
    made = high * len(_DAY_LETTERS) + low
    today = int(now.timestamp() // _SECONDS_A_DAY) % _CYCLE
    # One day ahead is borne: the box's clock may have been put back.
    return (today - made + 1) % _CYCLE <= VALID_DAYS + 1


def _unquoted(local: str) -> str:
    """The local part that a quoted string means (RFC 5321 §4.1.2)."""
    if len(local) < 2 or not local[0] == local[-1] == '"':
        return local
    return re.sub(r"\\(.)", r"\1", local[1:-1], flags=re.DOTALL)


def _quoted(local: str) -> str:
    """As a dot-string if it can be one, as a quoted string if not."""
    if _ATOMS.match(local):
        return local
    return '"' + re.sub(r'(["\\])', r"\\\1", local) + '"'
