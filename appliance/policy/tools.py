"""What look-ups may ask. All that has an effect is handed in, so a test can hand in its own.

The optional parts are None where the box does not have them (in the simulator, in most tests);
the check that uses a part states it as a Protocol in its own module and does without it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from appliance.base.clock import Clock
from appliance.base.kept import Kept
from appliance.dns.resolver import Resolver
from appliance.policy.dmarc import DmarcResult
from appliance.policy.scan import Scanner
from appliance.policy.spf import SpfResult

if TYPE_CHECKING:
    from appliance.policy.call_ahead import NextHops
    from appliance.policy.dnsbl import Dnsbl
    from appliance.policy.greylist import Correspondents, Greylist
    from appliance.policy.tally import Tally

MAX_SENDER_DOMAINS = 20_000
MAX_SPF_RESULTS = 20_000
MAX_DMARC_RESULTS = 5_000
HEAVY_AT_A_TIME = 2  # large messages held in memory to be looked at

if TYPE_CHECKING:
    from appliance.policy.brake import SentBook


@dataclass(slots=True)
class Tools:
    """The doors to the world, as the checks see them."""

    resolver: Resolver
    clock: Clock
    scanner: Scanner | None = None
    heavy: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(HEAVY_AT_A_TIME))
    sender_domains: Kept[str, str] = field(default_factory=lambda: Kept(MAX_SENDER_DOMAINS))
    spf_results: Kept[tuple[str, str, str], SpfResult] = field(
        default_factory=lambda: Kept(MAX_SPF_RESULTS)
    )
    dmarc_results: Kept[tuple[object, ...], DmarcResult] = field(
        default_factory=lambda: Kept(MAX_DMARC_RESULTS)
    )
    dnsbl: Dnsbl | None = None
    greylist: Greylist | None = None
    correspondents: Correspondents | None = None
    next_hops: NextHops | None = None
    sent: SentBook | None = None
    tally: Tally | None = None
    srs_secret: bytes = b""  # empty: no address of ours is taken for a rewritten sender
