"""What the steward knows of signing keys: which there are, and whether the DNS shows them."""

import asyncio
from typing import Any

from appliance.base.finding import Refused, Result
from appliance.certs.dkim_keys import DomainState, KeyFile, Pair
from appliance.dns import advisor, dkim_advice
from appliance.dns.live import LiveResolver
from appliance.dns.resolver import Resolver
from appliance.render.apply import Applier, signed_domains
from appliance.render.facts import Place
from appliance.settings.store import Store


class SigningDesk:
    """The keys of the domains that the settings name. Those of other domains are left alone."""

    def __init__(
        self, place: Place, store: Store, applier: Applier, resolver: Resolver | None
    ) -> None:
        self._place = place
        self._store = store
        self._keys = applier.dkim
        self._resolver = resolver

    def show(self) -> dict[str, Any]:
        """Every domain with its pairs; `enabled` is the switch."""
        settings = self._store.current()[1]
        domains = [self.show_one(domain) for domain in signed_domains(settings)]
        return {"enabled": settings.signing.enabled, "domains": domains}

    def show_one(self, domain: str) -> dict[str, Any]:
        """The pairs of a domain with their records. Raises Refused when it is not one of ours."""
        state = self._state(domain)
        files = self._keys.files([domain], ("current", "next", "retired"))
        return {
            "domain": domain,
            "pairs": [_pair_json(part, pair, files) for part, pair in state.pairs()],
        }

    def prepare(self, domain: str) -> None:
        self._state(domain)
        self._keys.prepare(domain)

    def switch(self, domain: str) -> DomainState:
        """The next pair signs from now on; the state before, for `put_back`."""
        before = self._state(domain)
        self._keys.switch(domain)
        return before

    def put_back(self, state: DomainState) -> None:
        self._keys.put_back(state)

    def refuse_unless_published(self, domain: str) -> None:
        """Raises Refused, with what is missing, when the DNS does not show the next pair."""
        if self._state(domain).next is None:
            return  # `switch` says so
        seen = self._look(domain)
        for one in seen:
            if one.finding.result is not Result.OK:
                raise Refused.because(
                    "dkim.published",
                    f"{one.record.name}: {one.finding.say}",
                    "Publish the records of the next key first; or switch all the same by force.",
                    "With a key that nobody can look up, signatures would not be believed.",
                )

    def ready_to_switch(self) -> list[str]:
        """The domains whose next pair the DNS shows."""
        settings = self._store.current()[1]
        waiting = [d for d in signed_domains(settings) if self._keys.state(d).next is not None]
        return [
            domain
            for domain in waiting
            if all(one.finding.result is Result.OK for one in self._look(domain))
        ]

    def _look(self, domain: str) -> list[advisor.Seen]:
        files = self._keys.files([domain], ("next",))
        records = dkim_advice.records([file.to_json() for file in files])
        return asyncio.run(advisor.look(records, self._resolver or self._live()))

    def _live(self) -> Resolver:
        if not self._place.resolver:
            raise Refused.because(
                "dkim.resolver",
                "This checkout has no name server to look at.",
                "Start it with --resolver, or switch by force.",
            )
        return LiveResolver.from_text(self._place.resolver)

    def _state(self, domain: str) -> DomainState:
        if domain not in signed_domains(self._store.current()[1]):
            raise Refused.because(
                "dkim.domain",
                f"{domain} is not a mail domain of this box.",
                "Its keys come with the settings, when it is the main or an additional domain.",
            )
        return self._keys.state(domain)


def _pair_json(part: str, pair: Pair, files: tuple[KeyFile, ...]) -> dict[str, Any]:
    return {
        "part": part,
        "number": pair.number,
        "made_at": pair.made_at.isoformat(timespec="seconds"),
        "keep_until": pair.keep_until.isoformat(timespec="seconds") if pair.keep_until else "",
        "records": [file.to_json() for file in files if file.selector in pair.files],
    }
