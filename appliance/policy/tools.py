"""What look-ups may ask. All that has an effect is handed in, so a test can hand in its own.

The optional parts are None where the box does not have them (in the simulator, in most tests);
the check that uses a part states it as a Protocol in its own module and does without it.
"""

from dataclasses import dataclass

from appliance.base.clock import Clock
from appliance.dns.resolver import Resolver


@dataclass(slots=True)
class Tools:
    """The doors to the world, as the checks see them."""

    resolver: Resolver
    clock: Clock
