"""DomainKeys Identified Mail (RFC 6376, 8301, 8463).

A domain signs the header fields that matter and the hash of the body; the key to check with
is in its DNS. `verify` says of each signature what RFC 8601 has words for, `sign` makes ours.

Two halves: keys are fetched first, through the Resolver, so that a name server that does not
answer is `temperror` and never a broken signature; the judgement on what was fetched is pure.
Nothing raises but programming errors: a signature comes from a stranger.

A large body (from `THREAD_OCTETS` on) is hashed in a thread. `sign_parts` is sync and safe
to be called in one.
"""

import asyncio
import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from appliance.dns.resolver import Resolver, TemporaryDnsError
from appliance.mail.message import split_head
from appliance.policy import dkim_form as form
from appliance.policy.dkim_form import Blocks, FormError, HeaderField
from appliance.policy.dkim_key import SigningKey, fetch_records
from appliance.policy.dkim_signature import Judgement, Signature, judge, read_dkim

__all__ = ["DkimResult", "SigningKey", "keys_for", "sign", "sign_parts", "verify", "verify_parts"]

MAX_SIGNATURES = 10
THREAD_OCTETS = 128 * 1024
BLOCK_OCTETS = 64 * 1024
# Longer than the queue may keep a message (30 days), so that a late delivery still passes.
LIFETIME = timedelta(days=35)

# Signed once more than they stand there: nobody can add one (RFC 6376 §5.4, §8.15).
OVERSIGNED = (
    "from", "to", "cc", "reply-to", "subject", "date", "message-id", "mime-version",
    "content-type", "content-transfer-encoding", "content-disposition",
    "in-reply-to", "references",
)  # fmt: skip
# Mailing lists and forwarders may add these.
SIGNED_IF_THERE = (
    "sender", "resent-from", "resent-to", "resent-cc", "resent-date", "resent-message-id",
    "list-id", "list-unsubscribe", "list-unsubscribe-post", "list-post", "list-help",
    "auto-submitted",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class DkimResult:
    """What is to be said of one signature (RFC 8601 §2.7.1), or `none` when there is none.

    `why` is for the log and the trace. `key_bits` is 0 when no key was seen.
    """

    result: str  # none pass fail policy neutral temperror permerror
    domain: str = ""
    selector: str = ""
    identity: str = ""
    algorithm: str = ""
    key_bits: int = 0
    why: str = ""

    def properties(self) -> dict[str, str]:
        """What an Authentication-Results field says beside the word (RFC 8601 §2.7.1)."""
        if not self.domain:
            return {}
        return {
            "reason": self.why,
            "header.d": self.domain,
            "header.i": self.identity,
            "header.a": self.algorithm,
            "header.s": self.selector,
        }


@dataclass(frozen=True, slots=True)
class _Claim:
    """A signature field of the message, read or not."""

    field: HeaderField
    signature: Signature | None
    wrong: str = ""


async def verify(resolver: Resolver, message: bytes, *, now: datetime) -> tuple[DkimResult, ...]:
    """One result for each of the first ten signatures, in their order; one `none` without any."""
    head, body = split_head(message)
    return await verify_parts(resolver, head, blocks_of(body), now=now, size=len(body))


async def verify_parts(
    resolver: Resolver, head: bytes, body: Blocks, *, now: datetime, size: int
) -> tuple[DkimResult, ...]:
    """As `verify`, for a body that comes in blocks; `size` is its length in octets."""
    fields = form.fields_of(head)
    signed = [field for field in fields if field.name == "dkim-signature"][:MAX_SIGNATURES]
    claims = [_read(field) for field in signed]
    if not claims:
        return (DkimResult("none", why="the message is not signed"),)
    records = await look_up(resolver, [c.signature.place for c in claims if c.signature])

    def all_judged() -> tuple[DkimResult, ...]:
        return _judge_all(claims, fields, records, body, now)

    return await asyncio.to_thread(all_judged) if size >= THREAD_OCTETS else all_judged()


async def look_up(
    resolver: Resolver, places: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], tuple[str, ...] | None]:
    """The key records for each (selector, domain), asked once each; None: nobody could say."""

    async def one(selector: str, domain: str) -> tuple[str, ...] | None:
        try:
            return await fetch_records(resolver, selector, domain)
        except TemporaryDnsError:
            return None

    each = list(dict.fromkeys(places))
    found = await asyncio.gather(*(one(*place) for place in each))
    return dict(zip(each, found, strict=True))


def _read(field: HeaderField) -> _Claim:
    try:
        return _Claim(field, read_dkim(field))
    except FormError as error:
        return _Claim(field, None, str(error))


def _judge_all(
    claims: Sequence[_Claim],
    fields: Sequence[HeaderField],
    records: Mapping[tuple[str, str], tuple[str, ...] | None],
    body: Blocks,
    now: datetime,
) -> tuple[DkimResult, ...]:
    usable = [c.signature for c in claims if c.signature]
    bodies = form.hash_body(body, {s.body_key for s in usable})
    results = []
    for claim in claims:
        signature = claim.signature
        if signature is None:
            results.append(DkimResult("permerror", why=claim.wrong))
            continue
        texts = records[signature.place]
        if texts is None:
            judged = Judgement("temperror", "no name server answered for the key")
        else:
            others = [field for field in fields if field is not claim.field]
            judged = judge(signature, others, texts, bodies, now)
        results.append(_result(signature, judged))
    return tuple(results)


def _result(signature: Signature, judged: Judgement) -> DkimResult:
    return DkimResult(
        result=judged.result,
        domain=signature.domain,
        selector=signature.selector,
        identity=signature.identity,
        algorithm=signature.algorithm,
        key_bits=judged.key_bits,
        why=judged.why,
    )


def blocks_of(body: bytes) -> Blocks:
    """A body in memory, in blocks."""
    return lambda: (body[at : at + BLOCK_OCTETS] for at in range(0, len(body), BLOCK_OCTETS))


def keys_for(domain: str, keys: Mapping[str, Sequence[SigningKey]]) -> tuple[SigningKey, ...]:
    """The keys that speak for a From domain: its own, or those of the nearest one above it.

    So a notice from postmaster@mail.example.com is signed by example.com, which aligns.
    """
    labels = domain.lower().split(".")
    for start in range(len(labels)):
        if found := keys.get(".".join(labels[start:])):
            return tuple(found)
    return ()


def sign(message: bytes, keys: Sequence[SigningKey], *, now: datetime) -> bytes:
    """One DKIM-Signature field for each key, whole and CRLF ended, to be put in front."""
    head, body = split_head(message)
    return sign_parts(head, blocks_of(body), keys, now=now)


def sign_parts(head: bytes, body: Blocks, keys: Sequence[SigningKey], *, now: datetime) -> bytes:
    """As `sign`, for a body that comes in blocks. The body is read once whatever the keys."""
    if not keys:
        return b""
    fields = form.fields_of(head)
    names = form.names_to_sign(fields, OVERSIGNED, SIGNED_IF_THERE)
    digest, _ = form.hash_body(body, [(form.RELAXED, None)])[form.RELAXED, None]
    signed = form.choose(fields, names)
    return b"".join(
        completed(unsigned("DKIM-Signature", f"v=1; {_tags(key, now)}", names, digest), signed, key)
        for key in keys
    )


def _tags(key: SigningKey, now: datetime) -> str:
    at = int(now.timestamp())
    until = at + int(LIFETIME.total_seconds())
    return (
        f"a={key.algorithm}; c=relaxed/relaxed;\r\n"
        f"\td={key.domain}; s={key.selector}; t={at}; x={until}"
    )


def unsigned(name: str, tags: str, names: Sequence[str], digest: bytes) -> HeaderField:
    """A signature field whose b= is still empty; never with l=."""
    text = (
        f"{name}: {tags};\r\n"
        f"\th={folded(':'.join(names), ':')};\r\n"
        f"\tbh={base64.b64encode(digest).decode('ascii')};\r\n"
        "\tb=\r\n"
    )
    return HeaderField(name.lower(), text.encode("ascii"))


def completed(field: HeaderField, signed: Sequence[HeaderField], key: SigningKey) -> bytes:
    """The field with its b=."""
    data = form.hash_input(signed, field, form.RELAXED)
    value = base64.b64encode(key.sign(data)).decode("ascii")
    return field.raw.removesuffix(b"\r\n") + folded(value).encode("ascii") + b"\r\n"


def folded(text: str, after: str = "") -> str:
    """Cut into lines of about 72 characters, where white space means nothing."""
    if not after:
        return "\r\n\t ".join(text[at : at + 72] for at in range(0, len(text), 72))
    lines, line = [], ""
    for part in text.split(after):
        if len(line) + len(part) > 70:
            lines.append(line)
            line = ""
        line += part + after
    return "\r\n\t ".join([*lines, line.removesuffix(after)])
