"""Every setting of the box, described once.

The web forms, the CLI, the JSON export, the manual's reference and the checks all
read this description. A setting's name is its section and field: `mail.hostname`.
Settings JSON is one flat object of such names (a nested one is read too).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from appliance.base.finding import Refused
from appliance.settings import parse
from appliance.settings.content import Content
from appliance.settings.delivery import Delivery
from appliance.settings.describe import (
    Field,
    choice,
    list_of,
    number,
    plain,
    switch,
    text,
)
from appliance.settings.disks import Disks
from appliance.settings.filter import Filter
from appliance.settings.mailboxes import Mailboxes
from appliance.settings.network import Network
from appliance.settings.parse import JSON, Bad
from appliance.settings.rules_section import Rewriting
from appliance.settings.senders import Senders
from appliance.settings.signing import Signing
from appliance.settings.submission import Submission

__all__ = ["Field", "plain"]  # the description's own words, for those who read it here

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayDomain:
    """A domain whose mail is taken from outside and handed to `host` by SMTP (G4).

    With `verify_recipients` the next hop is asked, when a recipient is named, whether it
    exists (call-ahead, G6).
    """

    domain: str
    host: str
    port: int = 25
    verify_recipients: bool = False

    @classmethod
    def from_json(cls, raw: JSON) -> RelayDomain:
        """Read an object, or text of the form `example.com | [2001:db8::1]:2525`."""
        if isinstance(raw, RelayDomain):
            return raw
        if isinstance(raw, str):
            domain, bar, target = raw.partition("|")
            if not bar:
                raise Bad(f"“{raw}” has no next hop.", "Write it as example.com | 10.20.30.40.")
            host, port = parse.host_and_port(target, 25)
            return cls(domain=parse.mail_domain(domain), host=host, port=port)
        if not isinstance(raw, Mapping) or not {"domain", "host"} <= raw.keys():
            raise Bad("A relay domain has no domain or no host.", "Give both domain and host.")
        unknown = raw.keys() - {"domain", "host", "port", "verify_recipients"}
        if unknown:
            raise Bad(f"“{min(unknown)}” is not known here.", "Leave it out.")
        return cls(
            domain=parse.mail_domain(raw["domain"]),
            host=parse.host(raw["host"]),
            port=parse.whole_number(1, 65535)(raw.get("port", 25)),
            verify_recipients=parse.boolean(raw.get("verify_recipients", False)),
        )

    def to_text(self) -> str:
        """The form that people paste: `example.com | 10.20.30.40:2525`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.domain} | {host}" + (f":{self.port}" if self.port != 25 else "")


def _route(raw: JSON) -> str:
    """A special route: `domain|host:port`, in canonical form."""
    return RelayDomain.from_json(parse.text()(raw)).to_text().replace(" | ", "|")


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """The box itself."""

    language: str = choice(
        "en", ("en", "de"), "Language", "The language of these pages and of notices by mail."
    )
    time_zone: str = text(
        "UTC", parse.time_zone, "Time zone", "Times on pages and in notices are shown in it."
    )
    ntp_servers: tuple[str, ...] = list_of(
        (), parse.host, "host", "Time servers", "Empty: Debian's public time servers."
    )
    ssh_authorized_keys: tuple[str, ...] = list_of(
        (),
        parse.ssh_key,
        "public key",
        "SSH keys of administrators",
        "SSH is shut until a key is given here. There is no password log-in.",
    )
    dns_forwarders: tuple[str, ...] = list_of(
        (),
        parse.resolver_address,
        "address",
        "Name servers to ask",
        "Empty: the box looks names up by itself and checks DNSSEC. Fill this in only when "
        "the line does not let it; block lists often do not answer through a provider's server.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """Domains, and what is taken."""

    enabled: bool = switch(
        False, "Mail service", "Off: the mail ports are shut; what is queued waits."
    )
    main_domain: str = text(
        "",
        parse.optional(parse.mail_domain),
        "Main mail domain",
        "Mailboxes belong to it. With mailboxes elsewhere, invent one such as box.invalid.",
    )
    hostname: str = text(
        "",
        parse.optional(parse.host_name),
        "Host name of the mail server",
        "The full name that other servers see, such as mail.example.com. It must resolve to the "
        "box's public address, and the address back to it.",
    )
    additional_domains: tuple[str, ...] = list_of(
        (),
        parse.mail_domain,
        "domain",
        "Additional mail domains",
        "Mailboxes and aliases answer in each of them too.",
    )
    relay_domains: tuple[RelayDomain, ...] = list_of(
        (),
        RelayDomain.from_json,
        "domain | next hop",
        "Relay domains",
        "Mail for these domains is taken from outside, filtered, and handed to the next hop, "
        "such as example.com | 10.20.30.40.",
    )
    max_message_bytes: int = number(
        50 * MIB,
        64 * 1024,
        1024 * MIB,
        "bytes",
        "Largest message",
        "Larger messages are refused with a reply that names the limit.",
    )
    max_recipients: int = number(
        1000,
        100,
        50_000,
        "recipients",
        "Recipients of one message",
        "More are put off to a second message, as other servers expect.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Outbound:
    """How mail leaves."""

    mode: str = choice(
        "direct",
        ("direct", "smarthost"),
        "Outgoing mail",
        "direct: straight to each receiver's server. smarthost: all through one server, "
        "for lines that others refuse mail from.",
    )
    smarthost_host: str = text(
        "", parse.optional(parse.host), "Smarthost", "The provider's outgoing server."
    )
    smarthost_port: int = number(587, 1, 65535, "", "Port of the smarthost", "Usually 587 or 465.")
    smarthost_tls: str = choice(
        "required",
        ("none", "opportunistic", "required", "implicit"),
        "Encryption",
        "required: STARTTLS with a valid certificate. implicit: TLS from the start (port 465).",
    )
    smarthost_user: str = text(
        "", parse.text(), "User name", "Empty when the smarthost knows the box by its address."
    )
    smarthost_password: str = text(
        "",
        parse.text(512, strip=False),
        "Password",
        "Kept on the box; never shown again.",
        secret=True,
    )
    tls: str = choice(
        "opportunistic",
        ("opportunistic", "none"),
        "Encryption to other servers",
        "opportunistic: encrypted whenever the other server offers it.",
    )
    dane: str = choice(
        "auto",
        ("auto", "off"),
        "Keys in the DNS (DANE)",
        "auto: where a domain's signed DNS names its mail server's key, only that server gets "
        "the mail.",
    )
    connect_timeout_seconds: int = number(
        30, 1, 600, "seconds", "Wait for a connection", "Then the next address is tried."
    )
    reply_timeout_seconds: int = number(
        300, 1, 3600, "seconds", "Wait for a reply", "RFC 5321 asks for five minutes."
    )
    connections_per_destination: int = number(
        10,
        1,
        200,
        "connections",
        "Connections to one destination",
        "More are not opened at a time; the rest waits its turn.",
    )
    messages_per_connection: int = number(
        100, 1, 10_000, "messages", "Messages over one connection", "Then a new one is opened."
    )
    connections_total: int = number(
        100, 1, 2000, "connections", "Outgoing connections in all", "At a time."
    )
    route_overrides: tuple[str, ...] = list_of(
        (),
        _route,
        "domain|host:port",
        "Special routes",
        "Mail for these domains goes to the host given, whatever else is set.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Relay:
    """Who may send through the box, and how patient it is."""

    trusted_networks: tuple[str, ...] = list_of(
        (),
        parse.network,
        "network",
        "Trusted networks",
        "Devices there may send to anybody without logging in. Name as few as possible.",
    )
    connections_total: int = number(
        1000, 10, 20_000, "connections", "Incoming connections", "At a time."
    )
    connections_per_address: int = number(
        50, 1, 10_000, "connections", "Incoming connections of one address", "At a time."
    )
    command_timeout_seconds: int = number(
        300, 5, 3600, "seconds", "Wait for a command", "RFC 5321 asks for five minutes."
    )
    transaction_timeout_seconds: int = number(
        1800,
        10,
        86_400,
        "seconds",
        "Longest transaction",
        "A sender that drips its message for longer is cut off.",
    )
    errors_per_session: int = number(
        20, 3, 1000, "errors", "Errors before a sender is cut off", "Per connection."
    )
    max_hops: int = number(
        100,
        25,
        1000,
        "hops",
        "Most servers a message may have passed",
        "More means that it goes in a circle (RFC 5321 §6.3).",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """Mail that waits."""

    retry_seconds: tuple[int, ...] = list_of(
        (60, 300, 900, 1800, 3600),
        parse.whole_number(1, 7 * 86_400),
        "seconds",
        "Tries again after",
        "One entry a try; the last is repeated.",
        unit="seconds",
    )
    give_up_seconds: int = number(
        5 * 86_400,
        1,
        30 * 86_400,
        "seconds",
        "Gives up after",
        "The sender then gets the message back with the reason.",
    )
    delay_notice_seconds: int = number(
        4 * 3600,
        0,
        30 * 86_400,
        "seconds",
        "Tells the sender after",
        "A notice that the message still waits. 0: no notice.",
    )
    reserve_bytes: int = number(
        256 * MIB,
        MIB,
        1024 * 1024 * MIB,
        "bytes",
        "Room kept free",
        "With less free room no new mail is taken (other servers keep it and come back).",
    )
    ledger_days: int = number(
        90,
        1,
        3650,
        "days",
        "Keeps what became of mail for",
        "So long can be seen what became of a message, refused ones included.",
    )
    ledger_bytes: int = number(
        512 * MIB,
        8 * MIB,
        64 * 1024 * MIB,
        "bytes",
        "Room for what became of mail",
        "When it is used up the oldest entries go first, but none of a message that waits.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Web:
    """These pages."""

    session_idle_minutes: int = number(
        60, 5, 1440, "minutes", "Signs out when idle for", "Counted from the last page."
    )
    session_hours: int = number(12, 1, 168, "hours", "Signs out after", "However busy.")
    allowed_hosts: tuple[str, ...] = list_of(
        (),
        parse.host,
        "host",
        "Further names of the box",
        "Names under which these pages answer, beside the box's own name and addresses.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings. One that exists is valid field by field; `checks` looks across fields."""

    box: Box = field(default_factory=Box)
    network: Network = field(default_factory=Network)
    mail: Mail = field(default_factory=Mail)
    outbound: Outbound = field(default_factory=Outbound)
    delivery: Delivery = field(default_factory=Delivery)
    mailboxes: Mailboxes = field(default_factory=Mailboxes)
    relay: Relay = field(default_factory=Relay)
    submission: Submission = field(default_factory=Submission)
    queue: Queue = field(default_factory=Queue)
    content: Content = field(default_factory=Content)
    disks: Disks = field(default_factory=Disks)
    filter: Filter = field(default_factory=Filter)
    senders: Senders = field(default_factory=Senders)
    web: Web = field(default_factory=Web)
    rules: Rewriting = field(default_factory=Rewriting)
    signing: Signing = field(default_factory=Signing)


SECTIONS: dict[str, type] = {
    "box": Box,
    "network": Network,
    "mail": Mail,
    "outbound": Outbound,
    "delivery": Delivery,
    "mailboxes": Mailboxes,
    "relay": Relay,
    "submission": Submission,
    "queue": Queue,
    "content": Content,
    "disks": Disks,
    "filter": Filter,
    "senders": Senders,
    "web": Web,
    "rules": Rewriting,
    "signing": Signing,
}


@cache
def fields() -> tuple[Field, ...]:
    """The descriptions of all settings, in the order in which people meet them."""
    return tuple(
        Field(
            name=f"{section}.{entry.name}",
            kind=entry.metadata["kind"],
            unit=entry.metadata.get("unit", ""),
            default=entry.default,
            label=entry.metadata["label"],
            help=entry.metadata["help"],
            parse=entry.metadata["parse"],
            secret=entry.metadata.get("secret", False),
            choices=entry.metadata.get("choices", ()),
            minimum=entry.metadata.get("minimum"),
            maximum=entry.metadata.get("maximum"),
            item=entry.metadata.get("item", ""),
        )
        for section, kind in SECTIONS.items()
        for entry in dataclasses.fields(kind)
    )


@cache
def by_name() -> dict[str, Field]:
    """The descriptions by the settings' names."""
    return {entry.name: entry for entry in fields()}


def parse_value(name: str, raw: JSON) -> Any:
    """The value of setting `name` from raw JSON. Raises Refused that names the field and remedy."""
    described = by_name().get(name)
    if described is None:
        raise Refused.because(
            f"settings.{name}",
            f"There is no setting “{name}”.",
            "“pennypost settings schema” lists them all.",
        )
    try:
        return described.parse(raw)
    except Bad as error:
        raise Refused.because(
            f"settings.{name}", f"{described.label} ({name}): {error.say}", error.fix
        ) from error


def from_json(raw: Mapping[str, JSON], base: Settings | None = None) -> Settings:
    """Settings from a flat or nested JSON object; what it does not name stays as in `base`.

    Raises Refused for the first name or value that is wrong.
    """
    settings = base or Settings()
    changed: dict[str, dict[str, Any]] = {}
    for name, value in flatten(raw).items():
        section, _, entry = name.partition(".")
        changed.setdefault(section, {})[entry] = parse_value(name, value)
    replaced = {
        section: dataclasses.replace(getattr(settings, section), **entries)
        for section, entries in changed.items()
    }
    return dataclasses.replace(settings, **replaced)


def flatten(raw: Mapping[str, JSON]) -> dict[str, JSON]:
    """`{"mail": {"hostname": x}}` as `{"mail.hostname": x}`; flat names pass as they are."""
    if not isinstance(raw, Mapping):
        raise Refused.because(
            "settings", "The settings are not a JSON object.", 'Write {"mail.hostname": "..."}.'
        )
    flat: dict[str, JSON] = {}
    for name, value in raw.items():
        if name in SECTIONS and isinstance(value, Mapping):
            flat.update({f"{name}.{entry}": inner for entry, inner in value.items()})
        else:
            flat[str(name)] = value
    return flat


def to_json(settings: Settings, *, secrets: bool = True) -> dict[str, JSON]:
    """Settings as a flat JSON object; without `secrets`, secret values are left out."""
    return {
        entry.name: plain(get(settings, entry.name))
        for entry in fields()
        if secrets or not entry.secret
    }


def get(settings: Settings, name: str) -> Any:
    """The value of the setting `name`."""
    section, _, entry = name.partition(".")
    return getattr(getattr(settings, section), entry)
