"""Wounds for bytes: a few cuts, doublings, swaps and spices, the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Sequence


def mutated(sent: bytes, chance: random.Random, spice: Sequence[bytes]) -> bytes:
    """A few wounds: cut, double, swap, spice."""
    found = bytearray(sent)
    for _ in range(chance.randint(1, 5)):
        at, to = sorted(chance.randrange(len(found) + 1) for _ in range(2))
        to = min(to, at + 40)
        wound = chance.randrange(4)
        if wound == 0:
            del found[at:to]
        elif wound == 1:
            found[at:at] = found[at:to]
        elif wound == 2:
            found[at:to] = bytes(chance.randrange(256) for _ in range(to - at))
        else:
            found[at:at] = chance.choice(spice)
    return bytes(found)
