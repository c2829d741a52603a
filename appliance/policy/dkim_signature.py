"""One signature field, read and judged: what DKIM and ARC have in common (RFC 6376 §3.5, §6.1).

The order of the checks is that of RFC 6376 §6.1: the field, the key, the hashes. The words of
the outcome are those of RFC 8601 §2.7.1: `permerror` cannot be judged, now or later;
`temperror` nobody could say; `policy` may be right, but is of a kind that we do not take;
`neutral` is right, but says too little.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from appliance.mail import domain as domains
from appliance.policy import dkim_form as form
from appliance.policy.dkim_form import FormError, HeaderField
from appliance.policy.dkim_key import (
    ALGORITHMS,
    LEAST_RSA_BITS,
    MOST_RSA_BITS,
    RSA,
    PublicKey,
    Revoked,
    parse_record,
)

OLD_ALGORITHMS = ("rsa-sha1",)  # RFC 8301 §3.1: has failed for good
MAX_SIGNED_NAMES = 1000


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature field that keeps the grammar."""

    field: HeaderField
    domain: str
    selector: str
    identity: str
    algorithm: str
    header_form: str
    body_form: str
    names: tuple[str, ...]
    body_hash: bytes
    signature: bytes
    limit: int | None  # l=
    expires: int | None  # x=, seconds since 1970

    @property
    def place(self) -> tuple[str, str]:
        """Where its key is: selector and domain."""
        return self.selector, self.domain

    @property
    def body_key(self) -> tuple[str, int | None]:
        """Which of the body's hashes it needs (`dkim_form.hash_body`)."""
        return self.body_form, self.limit


@dataclass(frozen=True, slots=True)
class Judgement:
    """A word of RFC 8601 §2.7.1, why, and the size of the key if one was seen."""

    result: str
    why: str
    key_bits: int = 0


def read_dkim(field: HeaderField) -> Signature:
    """A DKIM-Signature. Raises FormError."""
    tags = tags_with(field, ("v", "a", "b", "bh", "d", "h", "s"))
    if tags["v"] != "1":
        raise FormError("unknown version")
    if "dns/txt" not in form.without_spaces(tags.get("q", "dns/txt")).split(":"):
        raise FormError("the key is not in the DNS")
    domain = domain_of(tags["d"])
    identity = form.without_spaces(tags.get("i", f"@{domain}"))
    of = identity.rpartition("@")[2].lower()
    if "@" not in identity or (of != domain and not of.endswith(f".{domain}")):
        raise FormError("i= is not within d=")  # RFC 6376 §3.5, "i="
    return _read(field, tags, identity)


def read_arc(field: HeaderField) -> Signature:
    """An ARC-Message-Signature (RFC 8617 §4.1.2). Raises FormError."""
    tags = tags_with(field, ("i", "a", "b", "bh", "d", "h", "s"))
    if "v" in tags:
        raise FormError("an ARC signature has no version")
    signature = _read(field, tags, f"@{domain_of(tags['d'])}")
    if "arc-seal" in signature.names:  # RFC 8617 §4.1.2
        raise FormError("it signs an ARC-Seal")
    return signature


def tags_with(field: HeaderField, required: Sequence[str]) -> dict[str, str]:
    try:
        tags = form.tags_of(field.value.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise FormError("the field is not text") from error
    if missing := [name for name in required if not tags.get(name)]:
        raise FormError(f"{missing[0]}= is missing")
    return tags


def _read(field: HeaderField, tags: Mapping[str, str], identity: str) -> Signature:
    header_form, _, body_form = form.without_spaces(tags.get("c", form.SIMPLE)).partition("/")
    body_form = body_form or form.SIMPLE  # RFC 6376 §3.5, "c="
    if {header_form, body_form} - {form.SIMPLE, form.RELAXED}:
        raise FormError("unknown canonical form")
    names = tuple(form.without_spaces(tags["h"]).lower().split(":"))
    if "from" not in names or len(names) > MAX_SIGNED_NAMES:
        raise FormError("the From field is not signed")  # RFC 6376 §5.4
    made = form.number(tags["t"]) if "t" in tags else 0
    expires = form.number(tags["x"]) if "x" in tags else None
    if expires is not None and expires <= made:
        raise FormError("it expires before it was made")
    return Signature(
        field=field,
        domain=domain_of(tags["d"]),
        selector=domain_of(tags["s"]),
        identity=identity,
        algorithm=algorithm_of(tags["a"]),
        header_form=header_form,
        body_form=body_form,
        names=names,
        body_hash=form.unbase64(tags["bh"]),
        signature=form.unbase64(tags["b"]),
        limit=form.number(tags["l"], digits=76) if "l" in tags else None,
        expires=expires,
    )


def algorithm_of(value: str) -> str:
    """a=, one that is known, be it only to refuse it. Raises FormError."""
    algorithm = form.without_spaces(value).lower()
    if algorithm not in ALGORITHMS + OLD_ALGORITHMS:
        raise FormError("unknown algorithm")
    return algorithm


def domain_of(text: str) -> str:
    """d= or s= as a name that can be asked for. Raises FormError."""
    try:
        return domains.normalise(form.without_spaces(text))
    except ValueError as error:
        raise FormError("malformed d= or s=") from error


def judge(
    signature: Signature,
    others: Sequence[HeaderField],
    records: Sequence[str],
    bodies: Mapping[tuple[str, int | None], tuple[bytes, int]],
    now: datetime,
) -> Judgement:
    """The verdict on one signature; pure. `others` are the message's other fields in order."""
    if signature.algorithm in OLD_ALGORITHMS:
        return Judgement("policy", "SHA-1 is not taken any more (RFC 8301)")
    if signature.expires is not None and signature.expires < now.timestamp():
        return Judgement("fail", "the signature has expired")
    signed = form.choose(others, signature.names)
    data = form.hash_input(signed, signature.field, signature.header_form)
    found = judge_key(records, signature.algorithm, signature.signature, data)
    if isinstance(found, Judgement):
        return found
    of = signature.identity.rpartition("@")[2].lower()
    if found.same_domain and of != signature.domain:
        return Judgement("permerror", "the key is for d= alone, and i= is below it", found.bits)
    digest, length = bodies[signature.body_key]
    return _judge_body(signature, digest, length, found)


def _judge_body(signature: Signature, digest: bytes, length: int, key: PublicKey) -> Judgement:
    limit = signature.limit
    if limit is not None and limit > length:
        return Judgement("fail", "l= is longer than the body", key.bits)
    if digest != signature.body_hash:
        return Judgement("fail", "the body was changed", key.bits)
    if limit is not None and limit < length:
        # RFC 6376 §8.2: whatever follows is not signed at all, and may be all that is shown.
        return Judgement(
            "neutral", f"policy: l= leaves {length - limit} octets of the body unsigned", key.bits
        )
    return Judgement("pass", "the domain is testing" if key.testing else "", key.bits)


def judge_key(
    records: Sequence[str], algorithm: str, signature: bytes, data: bytes
) -> PublicKey | Judgement:
    """The key among the records that accepts the signature, or what to say when none does."""
    if not records:
        return Judgement("permerror", "there is no key at this selector")
    worst = Judgement("permerror", "no usable key")
    for text in records:
        try:
            key = parse_record(text)
        except Revoked as error:
            worst = Judgement("permerror", str(error))
            continue
        except FormError as error:
            if worst.result == "permerror":
                worst = Judgement("permerror", str(error))
            continue
        if key.algorithm != algorithm:
            worst = Judgement("permerror", "the key is of another kind", key.bits)
        elif algorithm == RSA and not LEAST_RSA_BITS <= key.bits <= MOST_RSA_BITS:
            worst = Judgement("policy", f"the key has {key.bits} bits", key.bits)
        elif key.accepts(signature, data):
            return key
        else:
            worst = Judgement("fail", "the signature does not fit the header", key.bits)
    return worst
