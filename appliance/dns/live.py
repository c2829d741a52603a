"""The real resolver, by dnspython: the one module that knows that library."""

from __future__ import annotations

import ipaddress

import dns.asyncresolver
import dns.exception
import dns.flags
import dns.name
import dns.rdatatype
import dns.resolver

from appliance.dns.resolver import MX, Answer, NoSuchName, TemporaryDnsError

DEFAULT_PORT = 53


class LiveResolver:
    """Asks the name server at `address` (the box's own by default).

    `lifetime_seconds` bounds one query with its retries. Answers are cached by
    their TTL in this process, up to `cache_size` names. `is_trusted`: whether its word that
    an answer is authenticated can be taken; by default only from this machine's own name
    server, for on the way from another anybody could set that bit (RFC 7672 §2.1.2).
    """

    def __init__(
        self,
        address: str = "127.0.0.1",
        port: int = DEFAULT_PORT,
        *,
        lifetime_seconds: float = 10,
        cache_size: int = 2000,
        is_trusted: bool | None = None,
    ) -> None:
        self.address, self.port = address, port
        self.is_trusted = is_loopback(address) if is_trusted is None else is_trusted
        self._resolver = dns.asyncresolver.Resolver(configure=False)
        self._resolver.nameservers = [address]
        self._resolver.port = port
        self._resolver.lifetime = lifetime_seconds
        self._resolver.timeout = min(4.0, lifetime_seconds)
        self._resolver.cache = dns.resolver.LRUCache(cache_size)
        self._resolver.use_edns(0, 0, 1232)  # DNS flag day 2020: no fragments
        # Ask for the AD bit without asking for the signatures (RFC 6840 §5.7).
        self._resolver.flags = dns.flags.RD | dns.flags.AD

    @classmethod
    def from_text(cls, text: str, **options: float) -> LiveResolver:
        """A resolver from `address:port`, `[v6]:port` or an address alone."""
        host, port = text, DEFAULT_PORT
        if text.startswith("["):
            host, _, rest = text[1:].partition("]")
            port = int(rest.removeprefix(":") or DEFAULT_PORT)
        elif text.count(":") == 1:
            host, _, number = text.partition(":")
            port = int(number)
        return cls(host, port, **options)  # type: ignore[arg-type]

    async def query(self, name: str, rdtype: str) -> Answer:
        try:
            # An absolute name, so that no search list of the host has a say.
            owner = dns.name.from_text(name.rstrip(".") + ".")
        except dns.exception.DNSException as error:
            raise NoSuchName(name) from error
        try:
            answer = await self._resolver.resolve(owner, rdtype, raise_on_no_answer=False)
        except dns.resolver.NXDOMAIN as error:
            raise NoSuchName(name) from error
        except (dns.exception.DNSException, OSError, EOFError) as error:
            raise TemporaryDnsError(f"{name} {rdtype}: {type(error).__name__}") from error
        authenticated = self.is_trusted and bool(answer.response.flags & dns.flags.AD)
        records = tuple(_plain(rdata) for rdata in answer.rrset or ())
        return Answer(records=records, authenticated=authenticated)


def is_loopback(address: str) -> bool:
    """Whether it is this machine."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _plain(rdata: dns.rdata.Rdata) -> object:
    """One record as the words of `dns.resolver`."""
    if rdata.rdtype == dns.rdatatype.MX:
        host = rdata.exchange.to_text(omit_final_dot=True)  # type: ignore[attr-defined]
        return MX(preference=rdata.preference, host="" if host == "@" else host.rstrip("."))  # type: ignore[attr-defined]
    if rdata.rdtype == dns.rdatatype.TXT:
        return b"".join(rdata.strings).decode("latin-1")  # type: ignore[attr-defined]
    if rdata.rdtype in (dns.rdatatype.PTR, dns.rdatatype.CNAME, dns.rdatatype.NS):
        return rdata.target.to_text(omit_final_dot=True)  # type: ignore[attr-defined]
    return rdata.to_text()
