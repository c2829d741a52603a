"""DANE for SMTP: is this the server that the signed DNS names? (RFC 7672, RFC 6698). Pure.

The caller asks for TLSA records only where MX and address answers were authenticated, and
follows what is said here:

    read()      the records, and whether any can be used
    matches()   whether the server's certificates fit one of them
"""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

TRUST_ANCHOR, END_ENTITY = 2, 3  # DANE-TA, DANE-EE: the two usages of SMTP (RFC 7672 §3.1)
MAX_RECORDS = 32
MAX_CHAIN = 10
_DIGESTS = {1: ("sha256", 32), 2: ("sha512", 64)}


@dataclass(frozen=True, slots=True)
class Tlsa:
    """One record (RFC 6698 §2.1)."""

    usage: int
    selector: int  # 0: the whole certificate, 1: its public key
    matching: int  # 0: as it is, 1: SHA-256, 2: SHA-512
    data: bytes

    @property
    def is_usable(self) -> bool:
        """Whether it can be followed for SMTP. Usages 0 and 1 cannot (RFC 7672 §3.1.3)."""
        if self.usage not in (TRUST_ANCHOR, END_ENTITY) or self.selector not in (0, 1):
            return False
        if self.matching == 0:
            return bool(self.data)
        return self.matching in _DIGESTS and len(self.data) == _DIGESTS[self.matching][1]

    def fits(self, certificate: x509.Certificate) -> bool:
        """Whether the certificate is the one meant."""
        if self.selector == 0:
            content = certificate.public_bytes(Encoding.DER)
        else:
            public_key = certificate.public_key()
            content = public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        if self.matching:
            content = hashlib.new(_DIGESTS[self.matching][0], content).digest()
        return hmac.compare_digest(content, self.data)

    def __str__(self) -> str:
        return f"{self.usage} {self.selector} {self.matching} {self.data.hex()}"


def owner(host: str, port: int) -> str:
    """The name under which a server's records are (RFC 6698 §3)."""
    return f"_{port}._tcp.{host.rstrip('.')}"


def read(records: Sequence[str]) -> tuple[Tlsa, ...]:
    """Records in zone-file form; what cannot be read counts as unusable, not as absent."""
    return tuple(_read(text) for text in records[:MAX_RECORDS])


def usable(records: Sequence[Tlsa]) -> tuple[Tlsa, ...]:
    """Those that can be followed. Records without a usable one mean: encrypted, whoever it is
    (RFC 7672 §2.2)."""
    return tuple(record for record in records if record.is_usable)


def matches(
    records: Sequence[Tlsa], chain: Sequence[bytes], names: Sequence[str], now: datetime
) -> bool:
    """Whether the certificates that the server showed (DER, its own first) fit.

    DANE-EE asks for no name and no date (RFC 7672 §3.1.1). DANE-TA asks for a path of
    signatures from the server's certificate up to the anchor, valid now, and one of `names`.
    """
    try:
        shown = [x509.load_der_x509_certificate(der) for der in chain[:MAX_CHAIN]]
        if not shown:
            return False
        if any(record.usage == END_ENTITY and record.fits(shown[0]) for record in records):
            return True
        anchors = [record for record in records if record.usage == TRUST_ANCHOR]
        return any(_is_under(anchor, shown, names, now) for anchor in anchors)
    except ValueError:  # what the server showed, or the record holds, is no certificate
        return False


def _is_under(
    anchor: Tlsa, shown: Sequence[x509.Certificate], names: Sequence[str], now: datetime
) -> bool:
    leaf = shown[0]
    if not _is_current(leaf, now) or not _is_for(leaf, names):
        return False
    others = list(shown[1:])
    if anchor.matching == 0 and anchor.selector == 0:  # the anchor itself need not be shown
        others.append(x509.load_der_x509_certificate(anchor.data))
    lowest, left = leaf, others
    for _ in range(MAX_CHAIN):
        if lowest is not leaf and anchor.fits(lowest):
            return True
        above = [one for one in left if _signed(lowest, one) and _may_sign(one, now)]
        if not above:
            return False
        # A cross-signed authority shows twice; the one that is meant goes first.
        lowest = next((one for one in above if anchor.fits(one)), above[0])
        left = [one for one in left if one is not lowest]
    return False


def _signed(certificate: x509.Certificate, by: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(by)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _may_sign(certificate: x509.Certificate, now: datetime) -> bool:
    try:
        limits = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        return False
    return limits.ca and _is_current(certificate, now)


def _is_current(certificate: x509.Certificate, now: datetime) -> bool:
    return certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc


def _is_for(certificate: x509.Certificate, names: Sequence[str]) -> bool:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return False
    held = [name.lower() for name in found.value.get_values_for_type(x509.DNSName)]
    wanted = [name.rstrip(".").lower() for name in names]
    return any(name in held or f"*.{name.partition('.')[2]}" in held for name in wanted)


def _read(text: str) -> Tlsa:
    words = text.split()
    try:
        usage, selector, matching = (int(word) for word in words[:3])
        return Tlsa(usage, selector, matching, bytes.fromhex("".join(words[3:])))
    except ValueError:
        return Tlsa(-1, -1, -1, b"")
