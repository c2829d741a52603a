"""Keys of signatures: the public ones in the DNS (RFC 6376 §3.6.1), and our own private ones.

RSA of at least 1024 bits to verify (RFC 8301 §3.2), Ed25519 (RFC 8463). SHA-1 is not here.
All arithmetic is done by `cryptography`; the pure Python one took twenty times as long.
"""

import base64
import hashlib
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from appliance.dns.resolver import NoSuchName, Resolver
from appliance.policy.dkim_form import FormError, tags_of, unbase64, without_spaces

RSA, ED25519 = "rsa-sha256", "ed25519-sha256"
ALGORITHMS = (RSA, ED25519)
LEAST_RSA_BITS = 1024  # RFC 8301 §3.2
MOST_RSA_BITS = 8192  # a check takes time with the cube of it
MAX_RECORDS = 4  # several keys at one name are looked at, but not any number


class Revoked(FormError):
    """The key record has an empty p=: the key is withdrawn (RFC 6376 §3.6.1)."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key from the DNS. `bits` of RSA; 256 for Ed25519."""

    algorithm: str
    bits: int
    testing: bool  # t=y: the domain is trying it out; the verdict is the same
    same_domain: bool  # t=s: i= must not be a sub-domain of d=
    key: RSAPublicKey | Ed25519PublicKey = field(repr=False)

    def accepts(self, signature: bytes, data: bytes) -> bool:
        """Whether the signature is this key's over `data`."""
        try:
            if isinstance(self.key, RSAPublicKey):
                self.key.verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
            else:
                # RFC 8463 §3: Ed25519 signs the hash, not the text.
                self.key.verify(signature, hashlib.sha256(data).digest())
        except (InvalidSignature, ValueError):
            return False
        return True


def parse_record(text: str) -> PublicKey:
    """Read a key record. Raises FormError, or Revoked."""
    tags = tags_of(text)
    if tags.get("v", "DKIM1") != "DKIM1" or ("v" in tags and next(iter(tags)) != "v"):
        raise FormError("not a DKIM1 record")
    if "p" not in tags:
        raise FormError("the key record has no p=")
    hash_names = without_spaces(tags.get("h", "sha256")).split(":")
    services = without_spaces(tags.get("s", "*")).split(":")
    if "sha256" not in hash_names or not {"*", "email"} & set(services):
        raise FormError("the key is not for mail with sha256")
    if not without_spaces(tags["p"]):
        raise Revoked("the key was withdrawn")
    flags = without_spaces(tags.get("t", "")).split(":")
    algorithm, bits, key = _read_key(tags.get("k", "rsa"), unbase64(tags["p"]))
    return PublicKey(algorithm, bits, "y" in flags, "s" in flags, key)


def _read_key(kind: str, data: bytes) -> tuple[str, int, RSAPublicKey | Ed25519PublicKey]:
    if kind == "ed25519":
        if len(data) != 32:  # RFC 8463 §4: the bare key
            raise FormError("malformed Ed25519 key")
        return ED25519, 256, Ed25519PublicKey.from_public_bytes(data)
    if kind != "rsa":
        raise FormError("unknown kind of key")
    try:
        key = serialization.load_der_public_key(data)
    except Exception as error:  # the library has many words for bytes that are no key
        raise FormError("malformed RSA key") from error
    if not isinstance(key, RSAPublicKey):
        raise FormError("the key is not an RSA key")
    return RSA, key.key_size, key


async def fetch_records(resolver: Resolver, selector: str, domain: str) -> tuple[str, ...]:
    """The texts at the key's name; none when there is no such name.

    Raises TemporaryDnsError: "nobody could say" is never "there is no key".
    """
    try:
        answer = await resolver.query(f"{selector}._domainkey.{domain}", "TXT")
    except NoSuchName:
        return ()
    return tuple(str(text) for text in answer.records[:MAX_RECORDS])


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key of ours, loaded once. `algorithm` is rsa-sha256 or ed25519-sha256."""

    domain: str
    selector: str
    algorithm: str
    key: RSAPrivateKey | Ed25519PrivateKey = field(repr=False)

    @classmethod
    def from_pem(cls, domain: str, selector: str, pem: bytes) -> "SigningKey":
        """Load a key that this box made. Raises ValueError when it is none of the two kinds."""
        # Unchecked: the full check of an RSA key takes 40 ms, and the file is our own.
        key = serialization.load_pem_private_key(
            pem, password=None, unsafe_skip_rsa_key_validation=True
        )
        if isinstance(key, RSAPrivateKey):
            return cls(domain, selector, RSA, key)
        if isinstance(key, Ed25519PrivateKey):
            return cls(domain, selector, ED25519, key)
        raise ValueError("neither an RSA nor an Ed25519 key")

    def pem(self) -> bytes:
        """The private key itself."""
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    def sign(self, data: bytes) -> bytes:
        """The signature over `data`: 0.3 ms for RSA-2048."""
        if isinstance(self.key, RSAPrivateKey):
            return self.key.sign(data, padding.PKCS1v15(), hashes.SHA256())
        return self.key.sign(hashlib.sha256(data).digest())

    def record(self) -> str:
        """The value of the TXT record that publishes the key (RFC 6376 §3.6.1, RFC 8463 §4)."""
        public = self.key.public_key()
        if isinstance(public, RSAPublicKey):
            raw = public.public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            return f"v=DKIM1; k=rsa; p={base64.b64encode(raw).decode('ascii')}"
        raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return f"v=DKIM1; k=ed25519; p={base64.b64encode(raw).decode('ascii')}"
