"""Where mail goes next. Pure: a domain and the settings give a route.

Precedence: special routes, relay domains (their own next hop), our own mail domains (their
mailboxes, by LMTP), the smarthost, and else the domain's MX.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from appliance.mail.address import AddressError, domain_key
from appliance.settings import mailboxes
from appliance.settings.delivery import LMTP_PORT
from appliance.settings.parse import host_and_port
from appliance.settings.schema import RelayDomain, Settings


class Kind(StrEnum):
    """How the next hop is found."""

    HOST = "host"  # a host and port that were given
    MX = "mx"  # by the MX records of the domain
    MAILBOX = "mailbox"  # one of our own domains: LMTP to where the mailboxes are
    NOWHERE = "nowhere"  # one of our own domains, and there are no mailboxes here


class Tls(StrEnum):
    """How the connection is protected."""

    NONE = "none"
    OPPORTUNISTIC = "opportunistic"  # if offered; a certificate is not asked for
    ENCRYPTED = "encrypted"  # STARTTLS or not at all; a certificate is not asked for
    DANE = "dane"  # STARTTLS with a certificate that the signed DNS names
    REQUIRED = "required"  # STARTTLS with a valid certificate or not at all
    IMPLICIT = "implicit"  # TLS from the first octet, with a valid certificate


@dataclass(frozen=True, slots=True)
class Route:
    """A next hop. Equal routes share connections."""

    kind: Kind
    host: str  # of MX: the domain
    port: int = 25
    tls: Tls = Tls.OPPORTUNISTIC
    user: str = ""
    password: str = field(default="", repr=False)
    why: str = "direct"  # special route, relay domain, smarthost, direct

    def __str__(self) -> str:
        """For people: `smarthost mail.example.net:587`, `direct example.org`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        given = self.kind is Kind.HOST or (self.kind is Kind.MAILBOX and not host.startswith("/"))
        return f"{self.why} {host}" + (f":{self.port}" if given else "")


class Router:
    """Routes by domain, made once a change of settings. `mx_port` is 25 but in tests."""

    def __init__(self, settings: Settings, *, mx_port: int = 25) -> None:
        outbound, mail = settings.outbound, settings.mail
        self._tls = Tls(outbound.tls)
        self._mx_port = mx_port
        self._fixed: dict[str, Route] = {}
        for domain in (mail.main_domain, *mail.additional_domains):
            self._fix(
                domain,
                mailbox(mailboxes.lmtp(settings)) or Route(Kind.NOWHERE, domain, why="mailbox"),
            )
        for entry in mail.relay_domains:
            self._fix(entry.domain, self._to_host(entry, "relay domain"))
        for text in outbound.route_overrides:
            entry = RelayDomain.from_json(text)
            self._fix(entry.domain, self._to_host(entry, "special route"))
        self._smarthost = smarthost(settings) if outbound.mode == "smarthost" else None

    def route(self, domain: str) -> Route:
        """The route of a domain key, or of an address literal."""
        if domain in self._fixed:
            return self._fixed[domain]
        if self._smarthost is not None:
            return self._smarthost
        if domain.startswith("["):
            host = domain[1:-1].removeprefix("ipv6:")
            return Route(Kind.HOST, host, tls=self._tls)
        return Route(Kind.MX, domain, self._mx_port, tls=self._tls)

    def _fix(self, domain: str, route: Route) -> None:
        try:
            self._fixed[domain_key(domain)] = route
        except AddressError:  # empty: not filled in yet
            return

    def _to_host(self, entry: RelayDomain, why: str) -> Route:
        return Route(Kind.HOST, entry.host, entry.port, tls=self._tls, why=why)


def mailbox(lmtp: str) -> Route | None:
    """The way to the mailboxes: a path, or host:port without encryption; None for none."""
    if not lmtp:
        return None
    if lmtp.startswith("/"):
        return Route(Kind.MAILBOX, lmtp, tls=Tls.NONE, why="mailbox")
    host, port = host_and_port(lmtp, LMTP_PORT)
    return Route(Kind.MAILBOX, host, port, tls=Tls.NONE, why="mailbox")


def smarthost(settings: Settings) -> Route:
    """The way through the provider's server, as it is set."""
    outbound = settings.outbound
    return Route(
        Kind.HOST,
        outbound.smarthost_host,
        outbound.smarthost_port,
        tls=Tls(outbound.smarthost_tls),
        user=outbound.smarthost_user,
        password=outbound.smarthost_password,
        why="smarthost",
    )
