"""The box's own certificate authority: one root per box, made at its first boot.

Pure: keys and certificates go in and out as PEM bytes, the time is handed in. EC P-256, for it is
what every mail client and browser of the last ten years takes. The root lives 20 years, so that
nobody has to import it twice; a host certificate at most 397 days, the most browsers accept
(CA/Browser Forum BR §6.3.2), and is renewed when 30 days are left.

A box may have no clock of its own: a certificate that is not valid *yet* counts as due too.
"""

import ipaddress
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ROOT_DAYS = 20 * 365
HOST_DAYS = 397
RENEW_DAYS = 30
# A client whose clock is a little behind must not see a certificate from the future.
BACKDATE = timedelta(days=1)


@dataclass(frozen=True, slots=True, repr=False)
class KeyPair:
    """A private key and its certificate (the chain for a host), PEM. Never printed."""

    key_pem: bytes
    certificate_pem: bytes


@dataclass(frozen=True, slots=True)
class Subject:
    """What a host certificate has to cover. The first name is the common name."""

    names: tuple[str, ...]
    addresses: tuple[str, ...] = ()

    def general_names(self) -> list[x509.GeneralName]:
        """The subject alternative names, each once, in order."""
        names: list[x509.GeneralName] = [x509.DNSName(name) for name in dict.fromkeys(self.names)]
        addresses = dict.fromkeys(ipaddress.ip_address(text) for text in self.addresses)
        return names + [x509.IPAddress(address) for address in addresses]


def make_root(now: datetime) -> KeyPair:
    """A new root. Its name carries four random bytes, so that two boxes can be told apart."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"Pennypost root {secrets.token_hex(4)}")
    public = key.public_key()
    certificate = (
        _builder(name, name, public, now, ROOT_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )
    return KeyPair(_key_pem(key), _pem(certificate))


def make_host(root: KeyPair, subject: Subject, now: datetime) -> KeyPair:
    """A new key and a certificate for `subject`, signed by `root`; the chain ends in the root.

    The root is part of the chain, so that a client can be shown (or pin) where it ends.
    """
    root_key = serialization.load_pem_private_key(root.key_pem, password=None)
    if not isinstance(root_key, ec.EllipticCurvePrivateKey):
        raise ValueError("the root key is not an EC key")
    root_certificate = x509.load_pem_x509_certificate(root.certificate_pem)
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key()
    # RFC 5280: a common name holds 64 characters at most; the names that count are in the SAN.
    common_name = subject.names[0] if len(subject.names[0]) <= 64 else "pennypost"
    certificate = (
        _builder(_name(common_name), root_certificate.subject, public, now, HOST_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(subject.general_names()), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()),
            critical=False,
        )
        .sign(root_key, hashes.SHA256())
    )
    return KeyPair(_key_pem(key), _pem(certificate) + root.certificate_pem)


def why_renew(certificate_pem: bytes, root_pem: bytes, subject: Subject, now: datetime) -> str:
    """Why this host certificate does not do any more, in a few words; empty when it does."""
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem)
        root = x509.load_pem_x509_certificate(root_pem)
        certificate.verify_directly_issued_by(root)
        alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except Exception:  # whatever is wrong with it (bytes, signature, fields): a new one helps
        return "it cannot be read or is not signed by this box's root"
    if set(subject.general_names()) - set(alternatives.value):
        return "it lacks a name or an address"
    return _why_not_in_time(certificate, now)


def fingerprint(certificate_pem: bytes) -> str:
    """SHA-256 of the first certificate, as browsers show it: `AB:CD:...`."""
    digest = x509.load_pem_x509_certificate(certificate_pem).fingerprint(hashes.SHA256())
    return digest.hex(":").upper()


def _why_not_in_time(certificate: x509.Certificate, now: datetime) -> str:
    if certificate.not_valid_before_utc > now:
        return "it is not valid yet: the clock was ahead when it was made"
    if certificate.not_valid_after_utc - now < timedelta(days=RENEW_DAYS):
        return f"it ends in less than {RENEW_DAYS} days"
    return ""


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public: ec.EllipticCurvePublicKey,
    now: datetime,
    days: int,
) -> x509.CertificateBuilder:
    begin = now.astimezone(UTC) - BACKDATE
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        # RFC 5280 §4.1.2.5: both ends count, so one second less keeps within the whole days.
        .not_valid_after(begin + timedelta(days=days) - timedelta(seconds=1))
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Pennypost"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def covered(names: Collection[str], addresses: Collection[str]) -> Subject:
    """A `Subject` without empty names, in a stable order of addresses."""
    return Subject(
        names=tuple(name for name in dict.fromkeys(names) if name),
        addresses=tuple(sorted(set(addresses))),
    )
