"""Authenticated Received Chain (RFC 8617): what each forwarder found, sealed by it.

A set is three fields with the same i=: the results that the forwarder saw
(ARC-Authentication-Results), its signature over the message (ARC-Message-Signature) and its
seal over all sets so far (ARC-Seal). `verify` says whether the chain holds; whether the sealers
are trusted is another question. `seal` adds our set.

As in `dkim`: keys first, judgement after, a silent name server is `temperror`. Such a chain is
not sealed over (RFC 8601 knows no such word for ARC, and `fail` would be for ever).
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from appliance.dns.resolver import Resolver
from appliance.mail import auth_results
from appliance.mail.auth_results import Outcome
from appliance.mail.message import split_head
from appliance.policy import dkim, dkim_signature
from appliance.policy import dkim_form as form
from appliance.policy.dkim_form import Blocks, FormError, HeaderField
from appliance.policy.dkim_key import SigningKey
from appliance.policy.dkim_signature import OLD_ALGORITHMS, Judgement, Signature

MAX_SETS = 50  # RFC 8617 §5.2 step 1
RESULTS, MESSAGE, SEAL = "arc-authentication-results", "arc-message-signature", "arc-seal"
SIGNED = (
    "from", "to", "cc", "reply-to", "subject", "date", "message-id", "mime-version",
    "content-type", "content-transfer-encoding", "in-reply-to", "references", "sender",
    "list-id", "dkim-signature",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ArcResult:
    """none, pass, fail, or temperror when nobody could say; why, for the log.

    `sealers` are the domains of the seals from the first forwarder to the last.
    """

    result: str
    why: str = ""
    sets: int = 0
    sealers: tuple[str, ...] = ()

    def properties(self) -> dict[str, str]:
        """What an Authentication-Results field says beside the word."""
        return {"reason": self.why} if self.why else {}


@dataclass(frozen=True, slots=True)
class _Seal:
    """An ARC-Seal (RFC 8617 §4.1.3)."""

    field: HeaderField
    domain: str
    selector: str
    algorithm: str
    signature: bytes
    chain: str  # cv=

    @property
    def place(self) -> tuple[str, str]:
        """Where its key is: selector and domain."""
        return self.selector, self.domain


@dataclass(frozen=True, slots=True)
class _Set:
    """The three fields of one instance, read."""

    results: HeaderField
    message: Signature
    seal: _Seal


async def verify(resolver: Resolver, message: bytes, *, now: datetime) -> ArcResult:
    """Whether the chain of the message holds. `none` when it has none."""
    head, body = split_head(message)
    return await verify_parts(resolver, head, dkim.blocks_of(body), now=now, size=len(body))


async def verify_parts(
    resolver: Resolver, head: bytes, body: Blocks, *, now: datetime, size: int
) -> ArcResult:
    """As `verify`, for a body that comes in blocks; `size` is its length in octets."""
    fields = form.fields_of(head)
    try:
        sets = _sets(fields)
    except FormError as error:
        return ArcResult("fail", str(error))
    if not sets:
        return ArcResult("none")
    sealers = tuple(one.seal.domain for one in sets)
    places = [one.seal.place for one in sets]
    records = await dkim.look_up(resolver, [*places, sets[-1].message.place])

    def judged() -> Judgement:
        return _judge(sets, fields, records, body, now)

    found = await asyncio.to_thread(judged) if size >= dkim.THREAD_OCTETS else judged()
    result = found.result if found.result in ("pass", "temperror") else "fail"
    return ArcResult(result, found.why, len(sets), sealers)


def _sets(fields: Sequence[HeaderField]) -> list[_Set]:
    """The sets in the order of their numbers. Raises FormError (RFC 8617 §5.2 steps 1 to 3)."""
    drafts: dict[int, dict[str, HeaderField]] = {}
    for one in fields:
        if one.name in (RESULTS, MESSAGE, SEAL):
            fields_of_set = drafts.setdefault(_instance(one), {})
            if one.name in fields_of_set:
                raise FormError("a set has a field twice")
            fields_of_set[one.name] = one
    if sorted(drafts) != list(range(1, len(drafts) + 1)):
        raise FormError("the sets are not numbered one by one")
    if any(len(found) != 3 for found in drafts.values()):
        raise FormError("a set is not complete")
    sets = [_read_set(drafts[number]) for number in sorted(drafts)]
    for number, each in enumerate(sets, 1):
        wanted = "none" if number == 1 else "pass"
        if each.seal.chain != wanted:
            raise FormError(f"set {number} says that the chain was broken before it")
    return sets


def _instance(one: HeaderField) -> int:
    """i= of any of the three fields. Raises FormError."""
    text = one.value.decode("utf-8", "replace")
    if one.name == RESULTS:
        name, equals, value = text.partition(";")[0].partition("=")
        if name.strip(" \t\r\n") != "i" or not equals:
            raise FormError("a set has no number")
    else:
        value = form.tags_of(text).get("i", "")
    number = form.number(value, digits=3)
    if not 1 <= number <= MAX_SETS:
        raise FormError("the number of a set is out of bounds")
    return number


def _read_set(found: Mapping[str, HeaderField]) -> _Set:
    return _Set(found[RESULTS], dkim_signature.read_arc(found[MESSAGE]), _read_seal(found[SEAL]))


def _read_seal(one: HeaderField) -> _Seal:
    tags = dkim_signature.tags_with(one, ("i", "a", "b", "cv", "d", "s"))
    if {"h", "bh", "l"} & tags.keys():  # RFC 8617 §4.1.3: h= is a failure
        raise FormError("a seal names fields to sign")
    if "t" in tags:
        form.number(tags["t"])
    return _Seal(
        field=one,
        domain=dkim_signature.domain_of(tags["d"]),
        selector=dkim_signature.domain_of(tags["s"]),
        algorithm=dkim_signature.algorithm_of(tags["a"]),
        signature=form.unbase64(tags["b"]),
        chain=form.without_spaces(tags["cv"]).lower(),
    )


def _judge(
    sets: Sequence[_Set],
    fields: Sequence[HeaderField],
    records: Mapping[tuple[str, str], tuple[str, ...] | None],
    body: Blocks,
    now: datetime,
) -> Judgement:
    """The newest message signature, then all seals (RFC 8617 §5.2 steps 4 to 6); pure."""
    newest = sets[-1].message
    if any(texts is None for texts in records.values()):
        return Judgement("temperror", "no name server answered for a key")
    others = [one for one in fields if one is not newest.field]
    bodies = form.hash_body(body, {newest.body_key})
    texts = records[newest.place] or ()
    message = dkim_signature.judge(newest, others, texts, bodies, now)
    if message.result != "pass":
        return Judgement(message.result, f"message signature {len(sets)}: {message.why}")
    for number in range(len(sets), 0, -1):
        seal = sets[number - 1].seal
        found = _judge_seal(sets[:number], records[seal.place] or ())
        if found.result != "pass":
            return Judgement(found.result, f"seal {number}: {found.why}")
    return Judgement("pass", "")


def _judge_seal(sets: Sequence[_Set], texts: Sequence[str]) -> Judgement:
    seal = sets[-1].seal
    if seal.algorithm in OLD_ALGORITHMS:
        return Judgement("fail", "SHA-1 is not taken any more (RFC 8301)")
    before = [one for each in sets for one in (each.results, each.message.field, each.seal.field)]
    data = form.hash_input(before[:-1], seal.field, form.RELAXED)
    found = dkim_signature.judge_key(texts, seal.algorithm, seal.signature, data)
    return found if isinstance(found, Judgement) else Judgement("pass", "")


def seal(
    message: bytes,
    key: SigningKey,
    *,
    authentication_results: Sequence[Outcome],
    authserv_id: str,
    chain_validation: str,
    now: datetime,
) -> bytes:
    """Our set, three whole fields to be put in front of the message.

    `chain_validation` is what `verify` said: none, pass or fail. A chain that we are the first to
    find broken is marked so. Empty when the chain must not grow: it says itself that it is
    broken, is full, or nobody could say.
    """
    head, body = split_head(message)
    return seal_parts(
        head,
        dkim.blocks_of(body),
        key,
        authentication_results=authentication_results,
        authserv_id=authserv_id,
        chain_validation=chain_validation,
        now=now,
    )


def seal_parts(
    head: bytes,
    body: Blocks,
    key: SigningKey,
    *,
    authentication_results: Sequence[Outcome],
    authserv_id: str,
    chain_validation: str,
    now: datetime,
) -> bytes:
    """As `seal`, for a body that comes in blocks. Sync; safe to be called in a thread."""
    fields = form.fields_of(head)
    try:
        sets = _sets(fields) if chain_validation == "pass" else []
    except FormError:
        return b""
    number = _mark(fields) if chain_validation == "fail" else len(sets) + 1
    there = any(one.name in (RESULTS, MESSAGE, SEAL) for one in fields)
    if chain_validation not in ("none", "pass", "fail") or not 1 <= number <= MAX_SETS:
        return b""
    if (chain_validation == "none") == there:
        return b""
    text = auth_results.value(authserv_id, authentication_results)
    results = HeaderField(RESULTS, b"ARC-Authentication-Results: i=%d; %s\r\n" % (number, text))
    message = _message_signature(fields, body, key, number, now)
    before = [one for each in sets for one in (each.results, each.message.field, each.seal.field)]
    sealed = _sealed([*before, results, message], key, number, chain_validation, now)
    return sealed + message.raw + results.raw


def _mark(fields: Sequence[HeaderField]) -> int:
    """The number of a set that marks a broken chain; 0 when one of its seals does so already.

    RFC 8617 §5.1.2: such a set is sealed alone, as if it were the only one. Fields without a
    readable number are not counted.
    """
    highest = 0
    for one in fields:
        if one.name not in (RESULTS, MESSAGE, SEAL):
            continue
        with contextlib.suppress(FormError, UnicodeDecodeError):
            highest = max(highest, _instance(one))
            if (
                one.name == SEAL
                and "fail" in form.tags_of(one.value.decode()).get("cv", "").lower()
            ):
                return 0
    return highest + 1


def _message_signature(
    fields: Sequence[HeaderField], body: Blocks, key: SigningKey, number: int, now: datetime
) -> HeaderField:
    names = form.names_to_sign(fields, ("from",), SIGNED[1:])
    digest, _ = form.hash_body(body, [(form.RELAXED, None)])[form.RELAXED, None]
    empty = dkim.unsigned(
        "ARC-Message-Signature",
        f"i={number}; a={key.algorithm}; c=relaxed/relaxed;\r\n"
        f"\td={key.domain}; s={key.selector}; t={int(now.timestamp())}",
        names,
        digest,
    )
    return HeaderField(MESSAGE, dkim.completed(empty, form.choose(fields, names), key))


def _sealed(
    before: Sequence[HeaderField], key: SigningKey, number: int, chain: str, now: datetime
) -> bytes:
    text = (
        f"ARC-Seal: i={number}; a={key.algorithm}; cv={chain};\r\n"
        f"\td={key.domain}; s={key.selector}; t={int(now.timestamp())};\r\n"
        "\tb=\r\n"
    )
    return dkim.completed(HeaderField(SEAL, text.encode("ascii")), before, key)
