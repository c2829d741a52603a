"""The tools of the checks for somebody who only looks: what they learn is forgotten with them.

The simulator's answers must be those of a real session at this moment, so every part starts from
what its live original knows and goes on by the same code; only nothing is written back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from appliance.base.kept import ReadThrough
from appliance.mail.address import Address
from appliance.memory.call_ahead import CallAheadStore
from appliance.memory.greylist import GreylistStore
from appliance.memory.seen import SeenStore
from appliance.policy import brake
from appliance.policy.greylist import Seen
from appliance.policy.tools import Tools
from appliance.policy.verdict import Spread
from appliance.relay.scanner import HttpScanner
from appliance.relay.shop import Shop


def tools_of(shop: Shop) -> Tools:
    """All tools of the relay, each as one that only looks."""
    live, memories = shop.tools, shop.memories
    return replace(
        live,
        sender_domains=ReadThrough(live.sender_domains),
        spf_results=ReadThrough(live.spf_results),
        dmarc_results=ReadThrough(live.dmarc_results),
        scanner=shop.scanner.observer() if shop.scanner is not None else None,
        greylist=GreylistView(memories.greylist) if memories is not None else None,
        dnsbl=memories.block_lists.observer() if memories is not None else None,
        next_hops=(
            memories.call_ahead.observer(CallAheadView(memories.answers))
            if memories is not None
            else None
        ),
        sent=SentBookView(live.sent) if live.sent is not None else None,
        tally=None,
    )


def put_away(tools: Tools) -> None:
    """Close what was opened for them."""
    if isinstance(tools.scanner, HttpScanner):
        tools.scanner.close()


class _View(SeenStore):
    """A store whose changes never leave it. It has no file, so nothing but get and put works."""

    _live: SeenStore
    _own: dict[bytes, Seen]

    def get(self, key: bytes) -> Seen | None:
        return self._own[key] if key in self._own else self._live.get(key)

    def put(self, key: bytes, seen: Seen) -> None:
        self._own[key] = seen


class GreylistView(_View, GreylistStore):
    """Greylisting as it would decide."""

    def __init__(self, live: GreylistStore) -> None:  # the file is the live one's
        self._live, self._own = live, {}


class CallAheadView(_View, CallAheadStore):
    """What next hops said."""

    def __init__(self, live: CallAheadStore) -> None:  # the file is the live one's
        self._live, self._own, self._clock = live, {}, live._clock


class SentBookView:
    """`policy.brake.SentBook`: the brake goes on here only."""

    def __init__(self, live: brake.SentBook) -> None:
        self._live = live
        self._pulled = ""

    def so_far(self, login: str, now: float) -> Spread:
        """What the account sent up to now."""
        found = self._live.so_far(login, now)
        return replace(found, braked=found.braked or self._pulled)

    def strangers(self, login: str, addresses: Sequence[Address]) -> tuple[int, int]:
        """How many of them are new."""
        return self._live.strangers(login, addresses)

    def add(
        self, login: str, addresses: Sequence[Address], recipients: int, now: float, *, held: bool
    ) -> None:
        """Nothing was sent."""

    def pull(self, login: str, why: str, now: float) -> None:
        """As if."""
        self._pulled = why
