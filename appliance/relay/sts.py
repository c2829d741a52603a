"""Getting MTA-STS policies: the TXT record, the file by HTTPS, the cache (RFC 8461 §3, §5).

A domain whose policy is known is answered from memory and one look-up. The first time, its file
is fetched while the delivery waits, for lanes of that domain only; a fetch that failed is not
repeated for a while.
"""

import asyncio
import contextlib
import http.client
import io
import logging
import sqlite3
import ssl
from dataclasses import dataclass, field
from typing import Any, cast

from appliance.base.clock import Clock
from appliance.dns.resolver import DnsError, NoSuchName, Resolver
from appliance.memory.sts_cache import Kept, StsCache
from appliance.policy import mta_sts
from appliance.policy.mta_sts import BadPolicy, Policy
from appliance.relay import trust

HTTPS_PORT = 443
FETCH_SECONDS = 20.0  # RFC 8461 §3.3 suggests a minute; a delivery waits meanwhile
FAILED_FETCH_SECONDS = 300.0  # RFC 8461 §3.3: not asked again for so long
MAX_HEADER_BYTES = 16_384
MAX_FAILURES = 5_000
REFRESH_AHEAD_SECONDS = 86_400.0
MAX_REFRESHED = 200  # at a time
_log = logging.getLogger(__name__)


class FetchFailed(Exception):
    """The policy could not be had; `failure` is a result type of RFC 8460 §4.3."""

    def __init__(self, failure: str, why: str) -> None:
        super().__init__(why)
        self.failure = failure


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of a domain. `failure`: it announces a policy that cannot be had."""

    policy: Policy | None = None
    failure: str = ""


@dataclass(slots=True)
class Sts:
    """Policies of other domains. `port` and `cafile` are for tests."""

    cache: StsCache
    resolver: Resolver
    clock: Clock
    port: int = HTTPS_PORT
    cafile: str = ""
    _fetching: dict[str, "asyncio.Task[Found]"] = field(default_factory=dict)
    _failed: dict[str, tuple[float, Found]] = field(default_factory=dict)
    _context: ssl.SSLContext | None = None

    async def find(self, domain: str) -> Found:
        """The policy in force for mail to `domain`. Raises nothing: without one, none is asked.

        A cached one stays in force when its record is gone or cannot be looked up, else whoever
        can drop answers could lift it (RFC 8461 §5.1).
        """
        kept = self.cache.get(domain, self.clock.now().timestamp())
        announced = await self._announced(domain)
        if kept is not None and announced in ("", kept.id):
            return Found(kept.policy)
        if not announced:
            return Found()
        fresh = await self._fetch_once(domain, announced)
        return Found(kept.policy) if kept is not None and fresh.policy is None else fresh

    async def refresh(self) -> None:
        """Fetch anew what expires soon (RFC 8461 §5.1)."""
        now = self.clock.now().timestamp()
        for domain in self.cache.expiring(now + REFRESH_AHEAD_SECONDS, now)[:MAX_REFRESHED]:
            announced = await self._announced(domain)
            if announced:
                await self._fetch_once(domain, announced)

    async def _announced(self, domain: str) -> str:
        """The id in the record; empty when there is none or nobody can say."""
        try:
            answer = await self.resolver.query(f"_mta-sts.{domain}", "TXT")
        except DnsError:
            return ""
        return mta_sts.record_id(answer.records)

    async def _fetch_once(self, domain: str, announced: str) -> Found:
        """One fetch for all that wait for it."""
        failed = self._failed.get(domain)
        if failed is not None and self.clock.monotonic() < failed[0]:
            return failed[1]
        task = self._fetching.get(domain)
        if task is None:
            task = self._fetching[domain] = asyncio.create_task(self._renew(domain, announced))
            task.add_done_callback(lambda _: self._fetching.pop(domain, None))
        return await asyncio.shield(task)

    async def _renew(self, domain: str, announced: str) -> Found:
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                policy = mta_sts.parse(await self._get(domain))
        except BadPolicy as error:
            return self._remember_failure(domain, "sts-policy-invalid", str(error))
        except FetchFailed as error:
            return self._remember_failure(domain, error.failure, str(error))
        except ssl.SSLError as error:
            return self._remember_failure(domain, "sts-webpki-invalid", str(error))
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            return self._remember_failure(domain, "sts-policy-fetch-error", str(error))
        self._failed.pop(domain, None)
        kept = Kept(announced, policy, self.clock.now().timestamp())
        gone = self.cache.put(domain, kept)
        with contextlib.suppress(sqlite3.Error):  # then it is known until the next start
            await asyncio.to_thread(self.cache.store, domain, kept, gone)
        return Found(policy)

    def _remember_failure(self, domain: str, failure: str, why: str) -> Found:
        _log.info("no MTA-STS policy of %s: %s: %s", domain, failure, why)
        if len(self._failed) >= MAX_FAILURES:
            self._failed.pop(next(iter(self._failed)))
        found = Found(failure=failure)
        self._failed[domain] = (self.clock.monotonic() + FAILED_FETCH_SECONDS, found)
        return found

    async def _get(self, domain: str) -> bytes:
        """The file's content. Raises FetchFailed, OSError."""
        host = mta_sts.policy_host(domain)
        last: OSError | None = None
        for address in await self._addresses(host):
            try:
                return await self._get_from(address, host)
            except ssl.SSLError:
                raise
            except OSError as error:
                last = error
        raise last or FetchFailed("sts-policy-fetch-error", "the policy host has no address")

    async def _addresses(self, host: str) -> list[str]:
        found: list[str] = []
        for rdtype in ("AAAA", "A"):
            try:
                found += (await self.resolver.query(host, rdtype)).records
            except NoSuchName:
                break
            except DnsError:
                continue
        return found[:4]

    async def _get_from(self, address: str, host: str) -> bytes:
        if self._context is None:
            self._context = trust.verifying_context(self.cafile)
        reader, writer = await asyncio.open_connection(
            address, self.port, ssl=self._context, server_hostname=host
        )
        try:
            writer.write(
                f"GET /.well-known/mta-sts.txt HTTP/1.1\r\nHost: {host}\r\n"
                "User-Agent: Pennypost\r\nAccept: text/plain\r\nConnection: close\r\n\r\n".encode()
            )
            raw = await _read_at_most(reader, MAX_HEADER_BYTES + 2 * mta_sts.MAX_POLICY_BYTES)
        finally:
            writer.transport.abort()
        return body_of(raw)


async def _read_at_most(reader: asyncio.StreamReader, limit: int) -> bytes:
    """All that comes. Raises FetchFailed when that is too much."""
    found = b""
    while block := await reader.read(65_536):
        found += block
        if len(found) > limit:
            raise FetchFailed("sts-policy-invalid", "the answer is too long")
    return found


def body_of(raw: bytes) -> bytes:
    """The content of an HTTP response; only a 200 in plain text is one (RFC 8461 §3.3: no
    redirects). Raises FetchFailed."""
    response = http.client.HTTPResponse(cast(Any, _Canned(raw)), method="GET")
    try:
        response.begin()
        if response.status != 200:
            raise FetchFailed("sts-policy-fetch-error", f"HTTP status {response.status}")
        if response.headers.get_content_type() != "text/plain":
            raise FetchFailed("sts-policy-invalid", "not text/plain")
        return response.read(mta_sts.MAX_POLICY_BYTES + 1)
    except (http.client.HTTPException, ValueError) as error:
        raise FetchFailed("sts-policy-fetch-error", type(error).__name__) from error


class _Canned:
    """A socket that has been read already, for the parser of the standard library."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self._raw)
