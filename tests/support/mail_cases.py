"""Random boxes and random letters, from a seed: for tests that compare two ways to a verdict."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from appliance.base.clock import FakeClock
from appliance.dns.resolver import FakeResolver
from appliance.policy import dkim
from appliance.policy.verdict import Port
from appliance.relay.simulator import Question
from tests.support import signing

PEOPLE = ("anna", "bert")
OURS = ("example.com", "example.net", "example.org", "relay.example", "bücher.example")
STRANGE = (
    "evil.example", "news.example", "nullmx.example", "missing.example", "slow.example",
    "fail.example", "soft.example", "sub.news.example", "[192.0.2.9]", "xn--bcher-kva.example",
)  # fmt: skip
LOCALS = (
    "anna", "bert", "postmaster", "abuse", "info", "sales", "all", "loop", "away", "nobody",
    "anna+shop", "ANNA", "x%evil.example", "evil.example!x", '"a b"', '"x@evil.example"', "known",
    "unknown-1", "jürgen", "SRS0=AAAA=AA=evil.example=x", "a" * 65, "a..b", "",
)  # fmt: skip
HELLOS = (*["client.example.org"] * 6, "mail.news.example", "x", "[127.0.0.1]", "bad name!", "a_b",
          "-", "fail.example")  # fmt: skip
ZONE = "bl.example"


SIGNER = signing.ed25519_key("news.example", "s1")


def resolver() -> FakeResolver:
    """The world's DNS: good senders, bad ones, one that signs, and one block list."""
    listed = {f"{b}.{a}.0.127.{ZONE}": ["127.0.0.4"] for a in (1, 40) for b in range(256)}
    good = ("evil.example", "news.example", "fail.example", "soft.example", "sub.news.example")
    return FakeResolver(
        MX={**{name: [(10, "mx.news.example")] for name in good}, "nullmx.example": [(0, ".")]},
        A={"mx.news.example": ["192.0.2.1"], f"2.0.0.127.{ZONE}": ["127.0.0.2"], **listed},
        TXT={
            "news.example": ["v=spf1 ip4:127.0.0.0/9 -all"],
            "evil.example": ["v=spf1 +all"],
            "fail.example": ["v=spf1 -all"],
            "soft.example": ["v=spf1 ~all"],
            signing.name_of(SIGNER): [SIGNER.record()],
            "_dmarc.fail.example": ["v=DMARC1; p=reject"],
            "_dmarc.news.example": ["v=DMARC1; p=quarantine; sp=reject"],
        },
        SOA={".": ["root"]},
        NS={".": ["ns.example"]},
        fail={f"{kind} slow.example" for kind in ("MX", "A", "AAAA", "TXT")},
    )


def settings(dice: random.Random, next_hop: str) -> dict[str, Any]:
    """Settings of one box; `next_hop` is a server that knows some recipients."""

    def maybe(value: Any, default: Any, chance: float = 0.5) -> Any:
        return value if dice.random() < chance else default

    def some(of: Sequence[Any], most: int) -> list[Any]:
        return dice.sample(list(of), dice.randint(0, min(most, len(of))))

    relayed = [
        {
            "domain": domain,
            "host": next_hop.partition(":")[0],
            "port": int(next_hop.partition(":")[2]),
            "verify_recipients": dice.random() < 0.3,
        }
        for domain in some(OURS[2:], 3)
    ]
    entries = [
        "evil.example", ".news.example", "news.example", "x@evil.example", "anna@news.example",
        "127.1.0.0/16", "127.1.2.3", "127.40.0.0/16", "127.60.0.0/14", "soft.example # by phone",
        "example.com", "127.128.0.0/9",
    ]  # fmt: skip
    aliases = [
        "info: anna, bert", "sales: outside@evil.example", "all: info, sales", "loop: loop2",
        "loop2: loop", "away: nobody@example.com", "known@example.org: anna, x@news.example",
    ]  # fmt: skip
    return {
        "mail.additional_domains": some(OURS[1:2], 1),
        "mail.relay_domains": relayed,
        "mail.max_message_bytes": maybe(65_536, 1_000_000, 0.3),
        "mail.max_recipients": 100,
        "relay.trusted_networks": some(("127.50.0.0/16", "127.1.2.0/24", "127.90.0.0/20"), 2),
        "relay.max_hops": 25,
        "relay.errors_per_session": 1000,
        "relay.connections_per_address": 1000,
        "senders.permitted": some(entries, 4),
        "senders.forbidden": some(entries, 4),
        "filter.check_sender_domain": maybe(True, False),
        "filter.check_spf": maybe(True, False),
        "filter.dmarc": dice.choice(("off", "note", "quarantine", "follow")),
        "filter.greylist": maybe(True, False),
        "filter.greylist_delay_seconds": 60,
        "filter.dnsbl": maybe(True, False),
        "filter.dnsbl_zones": maybe([ZONE], [ZONE, "dead.example"]),
        "filter.permitted_skip_dnsbl": maybe(True, False),
        "rules.aliases": some(aliases, len(aliases)),
        "rules.copy_incoming": maybe("archive@example.org", "", 0.2),
        "rules.copy_outgoing": maybe("x@news.example", "", 0.2),
        "submission.sign_in": maybe(True, False, 0.8),
        "submission.check_from": maybe(True, False, 0.8),
        "submission.max_per_hour": maybe(6, 1000),
        "submission.max_recipients_per_hour": maybe(30, 1000),
        "submission.brake": maybe(True, False),
        "submission.brake_new_recipients": 5,
        "delivery.lmtp": maybe("127.0.0.1:24", ""),
        "queue.reserve_bytes": maybe(1024**4, 1024**2, 0.06),
    }


def client(dice: random.Random) -> str:
    """One of loopback's addresses, more often one that settings speak of."""
    if dice.random() < 0.5:
        return dice.choice(
            ("127.0.0.1", "127.1.2.3", "127.1.2.4", "127.1.9.9", "127.40.1.1", "127.50.0.7",
             "127.62.3.3", "127.90.1.1", "127.200.0.1")
        )  # fmt: skip
    return f"127.{dice.randint(0, 255)}.{dice.randint(0, 255)}.{dice.randint(1, 254)}"


def address(dice: random.Random) -> str:
    """Ours, a stranger's, or none at all."""
    domain = dice.choice(OURS) if dice.random() < 0.6 else dice.choice(STRANGE)
    form = dice.random()
    local = dice.choice(LOCALS)
    if form < 0.03:
        return local
    if form < 0.06:
        return f"@example.com:{local}@{domain}"
    if form < 0.08:
        return f"{local}@{domain}@example.com"
    return f"{local}@{domain}"


def message(dice: random.Random, own: str = "") -> bytes:
    """Mostly well made; `own` is an address of who signed in."""
    kind = dice.random()
    author = dice.choice((b"anna@news.example", b"x@fail.example", b"y@sub.news.example"))
    if own and dice.random() < 0.8:
        author = own.encode()
    head = b"From: Anna <" + author + b">\r\nTo: x@example.com\r\nSubject: a letter\r\n"
    body = b"Hello.\r\n.\r\n..dots\r\n" * dice.randint(0, 3)
    if kind < 0.05:
        head = b"From: a@news.example, b@evil.example\r\nSubject: two\r\n"
    elif kind < 0.1:
        head += b"From: c@evil.example\r\n"
    elif kind < 0.15:
        head = b"Received: by a; x\r\n" * dice.choice((3, 25, 26, 40)) + head
    elif kind < 0.2:
        body += dice.choice((b"a\nb\r\n", b"a\rb\r\n", b"\r\r\n", b"nul \0\r\n"))
    elif kind < 0.23:
        body = b"x" * 70 + b"\r\n"
        body *= dice.choice((880, 912, 1000))
    elif kind < 0.26:
        head = b"Subject: nobody\r\n"
    elif kind < 0.28:
        head += b"X: y\r\n" * dice.choice((900, 996, 997, 998, 1200))
    elif kind < 0.3:
        head += b"Delivered-To: sales@example.com\r\nBcc: q@evil.example\r\n"
    elif kind < 0.32:
        return dice.choice((b"", b"\r\n", b"no header at all\r\n"))
    letter = head + b"\r\n" + body
    if dice.random() < 0.3:
        letter = dkim.sign(letter, [SIGNER], now=FakeClock().now()) + letter
    return letter


def question(
    dice: random.Random, source: str, port: Port = Port.SMTP, *, tls: bool = False, user: str = ""
) -> Question:
    """A letter from there."""
    own = f"{user}@example.com" if user and dice.random() < 0.8 else address(dice)
    if not user and dice.random() < 0.2:
        own = "anna@news.example"  # which signs
    return Question(
        client=source,
        mail_from="" if dice.random() < 0.1 else own,
        recipients=tuple(address(dice) for _ in range(dice.choice((1, 1, 1, 2, 3, 6)))),
        helo=dice.choice(HELLOS),
        port=port,
        tls=tls,
        user=user,
        size=dice.choice((0, 0, 0, 1000, 65_536, 65_537, 10**6, 10**7)),
        message=message(dice, f"{user}@example.com" if user else ""),
    )
