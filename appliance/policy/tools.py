"""What look-ups may ask. All that has an effect is handed in, so a test can hand in its own.

The optional parts are None where the box does not have them (in the simulator, in most tests);
the check that uses a part states it as a Protocol in its own module and does without it.
"""

import asyncio
from dataclasses import dataclass, field

from appliance.base.clock import Clock
from appliance.dns.resolver import Resolver
from appliance.policy.scan import Scanner

HEAVY_AT_A_TIME = 2  # large messages held in memory to be looked at


@dataclass(slots=True)
class Tools:
    """The doors to the world, as the checks see them."""

    resolver: Resolver
    clock: Clock
    scanner: Scanner | None = None
    heavy: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(HEAVY_AT_A_TIME))
