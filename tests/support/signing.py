"""Signing keys for tests: made once for all of a run, for RSA keys are slow to make."""

from functools import cache

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from appliance.dns.resolver import FakeResolver
from appliance.policy.dkim_key import SigningKey


def pem_of(key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


@cache
def rsa_pem(bits: int = 2048) -> bytes:
    return pem_of(rsa.generate_private_key(65537, bits))


def rsa_old_pem() -> bytes:
    """The same key in the form that dkimpy reads for certain."""
    return rsa_key().key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )


@cache
def ed25519_pem() -> bytes:
    return pem_of(ed25519.Ed25519PrivateKey.generate())


def rsa_key(domain: str = "example.com", selector: str = "pp1", *, bits: int = 2048) -> SigningKey:
    return SigningKey.from_pem(domain, selector, rsa_pem(bits))


def ed25519_key(domain: str = "example.com", selector: str = "pp1e") -> SigningKey:
    return SigningKey.from_pem(domain, selector, ed25519_pem())


def name_of(key: SigningKey) -> str:
    return f"{key.selector}._domainkey.{key.domain}"


def published(*keys: SigningKey, **more: object) -> FakeResolver:
    """A DNS in which the keys stand."""
    return FakeResolver(TXT={name_of(key): [key.record()] for key in keys}, **more)  # type: ignore[arg-type]
