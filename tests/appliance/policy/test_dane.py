"""TLSA records against real certificate chains."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from appliance.policy import dane

NOW = datetime.now(UTC)
NAMES = ["mx.example.org"]


class Made:
    """A certificate with its key, signed by itself or by `by`."""

    def __init__(
        self, name: str, by: Made | None = None, *, ca: bool = False, days: int = 30
    ) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        signer = by or self
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(self.name)
            .issuer_name(signer.name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - timedelta(days=90))
            .not_valid_after(NOW + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .sign(signer.key, hashes.SHA256())
        )
        self.der = self.certificate.public_bytes(Encoding.DER)
        self.spki = self.key.public_key().public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        )


ROOT = Made("root.example", ca=True)
MIDDLE = Made("middle.example", ROOT, ca=True)
LEAF = Made("mx.example.org", MIDDLE)
EXPIRED = Made("mx.example.org", MIDDLE, days=-1)
OTHER = Made("other.example", MIDDLE)
NO_CA = Made("no-ca.example", ROOT)
BELOW_NO_CA = Made("mx.example.org", NO_CA)


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("record", "chain", "fits"),
    [
        (f"3 1 1 {sha(LEAF.spki)}", [LEAF], True),
        (f"3 0 1 {sha(LEAF.der)}", [LEAF], True),
        (f"3 1 2 {hashlib.sha512(LEAF.spki).hexdigest()}", [LEAF], True),
        (f"3 1 0 {LEAF.spki.hex()}", [LEAF], True),
        (f"3 1 1 {sha(LEAF.spki)[:40]} {sha(LEAF.spki)[40:]}", [LEAF], True),
        (f"3 1 1 {sha(EXPIRED.spki)}", [EXPIRED], True),  # no date for DANE-EE
        (f"3 1 1 {sha(OTHER.spki)}", [OTHER], True),  # and no name
        (f"3 1 1 {sha(LEAF.spki)}", [OTHER, LEAF], False),  # only the first is the server's
        (f"2 0 1 {sha(ROOT.der)}", [LEAF, MIDDLE, ROOT], True),
        (f"2 1 1 {sha(MIDDLE.spki)}", [LEAF, MIDDLE], True),
        (f"2 0 0 {ROOT.der.hex()}", [LEAF, MIDDLE], True),  # the anchor is in the record
        (f"2 0 1 {sha(ROOT.der)}", [LEAF, ROOT], False),  # a link is missing
        (f"2 0 1 {sha(ROOT.der)}", [EXPIRED, MIDDLE, ROOT], False),
        (f"2 0 1 {sha(ROOT.der)}", [OTHER, MIDDLE, ROOT], False),  # not the server's name
        (f"2 0 1 {sha(ROOT.der)}", [BELOW_NO_CA, NO_CA, ROOT], False),
        (f"2 1 1 {sha(LEAF.spki)}", [LEAF], False),  # a leaf is no anchor
        (f"2 0 1 {sha(ROOT.der)}", [], False),
    ],
    ids=map(str, range(17)),  # the keys are new each time; names that workers share are not
)
def test_records_fit_the_chains_they_name(record: str, chain: list[Made], fits: bool) -> None:
    records = dane.usable(dane.read([record]))
    assert len(records) == 1
    assert dane.matches(records, [one.der for one in chain], NAMES, NOW) is fits


@pytest.mark.parametrize(
    "record",
    [
        f"0 1 1 {sha(LEAF.spki)}", f"1 1 1 {sha(LEAF.spki)}", f"3 2 1 {sha(LEAF.spki)}",
        f"3 1 3 {sha(LEAF.spki)}", "3 1 1 abcd", "3 1 1", "3 1 0", "x", "3 1 1 zz",
    ],
    ids=map(str, range(9)),
)  # fmt: skip
def test_what_cannot_be_followed_is_unusable_yet_there(record: str) -> None:
    records = dane.read([record])
    assert len(records) == 1
    assert dane.usable(records) == ()


def test_garbage_for_a_certificate_fits_nothing() -> None:
    records = dane.read([f"3 1 1 {sha(LEAF.spki)}", "2 0 0 00"])
    assert not dane.matches(records, [b"nonsense"], NAMES, NOW)
    assert dane.owner("mx.example.org.", 25) == "_25._tcp.mx.example.org"
