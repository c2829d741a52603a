"""What greylisting remembers: triplets, origins that have come back, and who signed for them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from appliance.memory.seen import SeenStore, key_of
from appliance.policy.greylist import Origin, Seen, Windows, decide
from appliance.policy.verdict import Greylisted

MAX_ROWS = 200_000
REFRESH_SECONDS = 3600.0  # a known sender is written down anew at most so often


class GreylistStore(SeenStore):
    """`policy.greylist.Greylist`."""

    def __init__(self, path: Path, *, maximum: int = MAX_ROWS) -> None:
        super().__init__(path, maximum=maximum)

    def meet(
        self, origin: Origin, domain: str, recipient: str, now: float, windows: Windows
    ) -> Greylisted:
        """Decide about one recipient, and remember."""
        whole = key_of("sender", origin.name, domain)
        known = self.get(whole)
        if known is not None and known.passed >= origin.passes_to_be_known:
            wait, seen = decide(known, now, windows)
            if not wait:
                if now - known.last >= REFRESH_SECONDS:
                    self.put(whole, seen)
                return Greylisted()
        triplet = key_of("triplet", origin.name, domain, recipient)
        before = self.get(triplet)
        wait, seen = decide(before, now, windows)
        if wait:
            if seen != before:
                self.put(triplet, seen)
            asked = "asked before" if seen.first < now else "first seen"
            return Greylisted(wait, f"{asked}: {domain or '<>'} from {origin.name}")
        if before is not None and before.passed:
            if now - before.last >= REFRESH_SECONDS:
                self.put(triplet, seen)
            return Greylisted()
        self.put(triplet, seen)
        self._learn(whole, known, now)
        waited = round(now - seen.first)
        return Greylisted(0, f"came back after {waited} seconds: {origin.name}")

    def _learn(self, whole: bytes, known: Seen | None, now: float) -> None:
        """One more of this sender came back."""
        usable = known if known is not None and known.last <= now else Seen(now, now)
        self.put(whole, Seen(usable.first, now, usable.passed + 1))

    def signs(self, domain: str, now: float, windows: Windows) -> bool:
        """Whether mail of a sender's domain that came back was signed."""
        return self._remembers(key_of("signed", domain), now, windows)

    def knows_signer(self, domain: str, signer: str, now: float, windows: Windows) -> bool:
        """Whether such mail was signed by `signer`."""
        return self._remembers(key_of("signer", domain, signer), now, windows)

    def learn_signers(self, domain: str, signers: Iterable[str], now: float) -> None:
        """Mail of a sender's domain that came back was signed by them."""
        keys = [key_of("signer", domain, signer) for signer in signers]
        for key in (*keys, *((key_of("signed", domain),) if keys else ())):
            before = self.get(key)
            if before is None or not 0 <= now - before.last < REFRESH_SECONDS:
                self.put(key, Seen(now, now, 1))

    def _remembers(self, key: bytes, now: float, windows: Windows) -> bool:
        found = self.get(key)
        return found is not None and 0 <= now - found.last <= windows.memory
