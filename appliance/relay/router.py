"""Where mail goes next. Pure: a domain and the settings give a route.

Precedence: special routes, relay domains (their own next hop), our own mail domains (nobody
lives there yet), the smarthost, and else the domain's MX.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from appliance.mail.address import AddressError, domain_key
from appliance.settings.schema import RelayDomain, Settings


class Kind(StrEnum):
    """How the next hop is found."""

    HOST = "host"  # a host and port that were given
    MX = "mx"  # by the MX records of the domain
    NOWHERE = "nowhere"  # one of our own domains, without a mailbox


class Tls(StrEnum):
    """How the connection is protected."""

    NONE = "none"
    OPPORTUNISTIC = "opportunistic"  # if offered; a certificate is not asked for
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
        return f"{self.why} {host}" + (f":{self.port}" if self.kind is Kind.HOST else "")


class Router:
    """Routes by domain, made once a change of settings."""

    def __init__(self, settings: Settings) -> None:
        outbound, mail = settings.outbound, settings.mail
        self._tls = Tls(outbound.tls)
        self._fixed: dict[str, Route] = {}
        for domain in (mail.main_domain, *mail.additional_domains):
            self._fix(domain, Route(Kind.NOWHERE, domain, why="mailbox"))
        for entry in mail.relay_domains:
            self._fix(entry.domain, self._to_host(entry, "relay domain"))
        for text in outbound.route_overrides:
            entry = RelayDomain.from_json(text)
            self._fix(entry.domain, self._to_host(entry, "special route"))
        self._smarthost = _smarthost(settings) if outbound.mode == "smarthost" else None

    def route(self, domain: str) -> Route:
        """The route of a domain key, or of an address literal."""
        if domain in self._fixed:
            return self._fixed[domain]
        if self._smarthost is not None:
            return self._smarthost
        if domain.startswith("["):
            host = domain[1:-1].removeprefix("ipv6:")
            return Route(Kind.HOST, host, tls=self._tls)
        return Route(Kind.MX, domain, tls=self._tls)

    def _fix(self, domain: str, route: Route) -> None:
        try:
            self._fixed[domain_key(domain)] = route
        except AddressError:  # empty: not filled in yet
            return

    def _to_host(self, entry: RelayDomain, why: str) -> Route:
        return Route(Kind.HOST, entry.host, entry.port, tls=self._tls, why=why)


def _smarthost(settings: Settings) -> Route:
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
