"""Station 8: DKIM signatures on all that originates here, ARC seals on what is forwarded (D4)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace

from appliance.mail.from_field import from_domains
from appliance.mail.message import split_head
from appliance.policy import arc, dkim
from appliance.policy.dkim import SigningKey
from appliance.policy.verdict import Facts
from appliance.relay.shop import Shop
from appliance.spool.model import NewMessage


def keys_for(shop: Shop, head: bytes) -> tuple[SigningKey, ...]:
    """The keys that speak for the author; none when it is not a domain of ours."""
    if not shop.signing_keys:
        return ()
    domains = from_domains(head).domains
    return dkim.keys_for(domains[0], shop.signing_keys) if len(domains) == 1 else ()


async def signature(
    shop: Shop, head: bytes, body: Callable[[], Iterable[bytes]], size: int
) -> bytes:
    """The signature fields for a message; empty when we do not speak for its author.

    Raises OSError when the body cannot be read.
    """
    keys = keys_for(shop, head)
    if not keys:
        return b""
    now = shop.clock.now()
    if size >= dkim.THREAD_OCTETS:
        return await asyncio.to_thread(dkim.sign_parts, head, body, keys, now=now)
    if shop.signing_desk is not None:
        blocks = b"".join(body())
        fields = await shop.signing_desk.sign(head, blocks, keys, now.timestamp())
        if fields is not None:
            return fields
    return dkim.sign_parts(head, body, keys, now=now)


def signed(shop: Shop, report: NewMessage) -> NewMessage:
    """A report of ours with its signature. Reports are small and in memory."""
    if not shop.signing_keys or report.body is None:
        return report
    head, body = split_head(report.body)
    fields = dkim.sign_parts(head, dkim.blocks_of(body), keys_for(shop, head), now=shop.clock.now())
    return replace(report, trace=fields + report.trace)


def sealer(shop: Shop) -> Callable[[Facts, bytes], bytes]:
    """What puts our ARC set on a message that is forwarded; empty without a key."""

    def seal(facts: Facts, message: bytes) -> bytes:
        keys = dkim.keys_for(shop.rules.main_domain, shop.signing_keys)
        if not keys:
            return b""
        return arc.seal(
            message,
            keys[0],
            authentication_results=facts.outcomes,
            authserv_id=shop.hostname,
            chain_validation=facts.arc.result if facts.arc is not None else "none",
            now=shop.clock.now(),
        )

    return seal
