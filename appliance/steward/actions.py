"""What the steward does: this table and nothing else.

Each action names its arguments and who may ask for it. Programs that it starts are in
`render.programs` (checks and reloads) and here (systemctl); all by absolute path, none with
text from a caller in its arguments.
"""

import threading
from collections.abc import Callable, Mapping
from typing import Any

from appliance.base.clock import Clock
from appliance.base.finding import Refused
from appliance.base.run import run
from appliance.dns.resolver import Resolver
from appliance.policy import alias_preview
from appliance.render.apply import Applier, Progress, Wanted
from appliance.render.claim import PRESS_SECONDS, ClaimFiles, Press
from appliance.render.facts import Place
from appliance.render.programs import SYSTEMCTL
from appliance.settings import schema
from appliance.settings.schema import Settings
from appliance.settings.store import Store
from appliance.steward import services
from appliance.steward.accounts import AccountActions
from appliance.steward.action import Action, Who
from appliance.steward.arguments import (
    MAX_HISTORY,
    Argument,
    author,
    boolean,
    domain_name,
    settings_object,
    whole_number,
)
from appliance.steward.box import BoxActions
from appliance.steward.disks import DiskActions
from appliance.steward.signing import SigningDesk


class Steward:
    """The actions on the box at `place`. All that change something wait for one lock."""

    def __init__(
        self,
        place: Place,
        *,
        store: Store,
        applier: Applier,
        claim: ClaimFiles,
        clock: Clock,
        resolver: Resolver | None = None,
        press_group: str | None = None,
    ) -> None:
        self._place = place
        self._store = store
        self._applier = applier
        self._claim = claim
        self._press = Press(place.claim_press, group=press_group)
        self._clock = clock
        self._lock = threading.Lock()
        self._signing = SigningDesk(place, store, applier, resolver)
        self.accounts = AccountActions(place, store, clock)
        self._box = BoxActions(place, clock, restart)
        self._disks = DiskActions(place, store)

    def table(self) -> Mapping[str, Action]:
        """Every verb that exists."""
        revision = Argument(whole_number(0, 2**53))
        named = {"author": Argument(author)}
        base = {"base_revision": Argument(whole_number(0, 2**53), optional=True)}
        changes = {"changes": Argument(settings_object)}
        whole = {"settings": Argument(settings_object)}
        limit = {"limit": Argument(whole_number(1, MAX_HISTORY), default=50, optional=True)}
        domain = {"domain": Argument(domain_name)}
        force = {"force": Argument(boolean, default=False, optional=True)}
        secrets = {"secrets": Argument(boolean, default=False, optional=True)}
        return {
            "settings.show": Action(do=self.show),
            "settings.change": Action(
                do=self.change, arguments=changes | named | base, changes=True
            ),
            "settings.replace": Action(do=self.replace, arguments=whole | named, changes=True),
            "settings.history": Action(do=self.history, arguments=limit),
            "settings.undo": Action(
                do=self.undo, arguments={"revision": revision} | named, changes=True
            ),
            "settings.export": Action(do=self.export, arguments=secrets),
            "settings.apply": Action(do=self.apply_again, changes=True),
            "certificate.refresh": Action(do=self.refresh_certificates, changes=True),
            "services.status": Action(do=self.services_status),
            "claim.status": Action(do=self.claim_status),
            "claim.close": Action(do=self.claim_close, changes=True),
            "claim.press": Action(do=self.claim_press, who=Who.ROOT | Who.PANEL, changes=True),
            "claim.code": Action(do=self.claim_code, who=Who.ROOT),
            "facts.show": Action(do=self.facts_show),
            "dkim.show": Action(do=self.dkim_show),
            "dkim.rotate": Action(do=self.dkim_rotate, arguments=domain, changes=True),
            "dkim.switch": Action(do=self.dkim_switch, arguments=domain | force, changes=True),
            "dkim.tend": Action(do=self.dkim_tend, changes=True),
            "box.reboot": Action(do=self.reboot, changes=True),
            **self._box.table(),
            **self.accounts.table(),
            **self._disks.table(),
        }

    def show(self, progress: Progress, who: Who) -> Any:
        """The settings; secrets for root only."""
        revision, settings = self._store.current()
        shown = schema.to_json(settings, secrets=who is Who.ROOT)
        return {"revision": revision, "settings": shown}

    def export(self, progress: Progress, who: Who, *, secrets: bool) -> Any:
        """The settings JSON that `settings.replace` takes back."""
        if secrets and who is not Who.ROOT:
            raise Refused.because("steward.who", "Secrets are not given to the pages.")
        return schema.to_json(self._store.current()[1], secrets=secrets)

    def history(self, progress: Progress, who: Who, *, limit: int) -> Any:
        return [change.to_json() for change in self._store.history(limit)]

    def change(
        self,
        progress: Progress,
        who: Who,
        *,
        changes: Mapping[str, Any],
        author: str,
        base_revision: int | None,
    ) -> Any:
        """Change what is named, apply it, keep it; or nothing of it."""
        return self._bring(
            lambda: self._store.planned(changes), author, progress, base_revision=base_revision
        )

    def replace(
        self, progress: Progress, who: Who, *, settings: Mapping[str, Any], author: str
    ) -> Any:
        """Import: what is not named goes back to its default."""
        return self._bring(lambda: self._store.planned_replacement(settings), author, progress)

    def undo(self, progress: Progress, who: Who, *, revision: int, author: str) -> Any:
        """Take back one change of the history."""
        return self._bring(lambda: self._store.planned_undo(revision), author, progress)

    def apply_again(self, progress: Progress, who: Who) -> Any:
        """Bring the stored settings into force once more, with certificates for all addresses."""
        return self._again(progress, refresh=True)

    def refresh_certificates(self, progress: Progress, who: Who) -> Any:
        """Make certificates anew that end soon or lack an address, if there are such.

        For the moment when the network is up: at boot no address was known.
        """
        _, settings = self._store.current()
        due = self._applier.certificate_is_due(settings, refresh=True)
        if due:
            self._again(progress, refresh=True)
        return {"renewed": due}

    def _again(self, progress: Progress, *, refresh: bool) -> Any:
        with self._lock:
            revision, settings = self._store.current()
            wanted = Wanted(settings=settings, revision=revision, claimed=self._claim.is_claimed())
            self._applier.apply(wanted, commit=lambda: None, progress=progress, refresh=refresh)
            return {"revision": revision, "changed": []}

    def recover(self, progress: Progress) -> bool:
        """At start: finish what was cut off, renew what is due. True when something was done.

        While somebody sets the box up, the certificate of that page is not changed for an address.
        """
        _, settings = self._store.current()
        refresh = self._claim.is_claimed()
        due = self._applier.certificate_is_due(settings, refresh=refresh)
        if not due and not self._applier.is_unfinished():
            return False
        self._again(progress, refresh=refresh)
        return True

    def services_status(self, progress: Progress, who: Who) -> Any:
        _, settings = self._store.current()
        facts = self._applier.facts(settings, claimed=self._claim.is_claimed())
        return [state.to_json() for state in services.status(settings, facts, self._clock)]

    def claim_status(self, progress: Progress, who: Who) -> Any:
        return {"claimed": self._claim.is_claimed()}

    def claim_code(self, progress: Progress, who: Who) -> Any:
        return {"claimed": self._claim.is_claimed(), "code": self._claim.code()}

    def claim_press(self, progress: Progress, who: Who) -> Any:
        """The button of the box was pressed: for two minutes it can be claimed without its code."""
        if self._claim.is_claimed():
            raise Refused.because("claim.press", "This box has an owner already.")
        self._press.note(self._clock.monotonic())
        return {"seconds": PRESS_SECONDS}

    def claim_close(self, progress: Progress, who: Who) -> Any:
        """The box has an owner from now on: open what the settings open.

        A path unit sees the mark and takes CLAIM.TXT off the boot partition.
        """
        with self._lock:
            if not self._claim.is_claimed():
                revision, settings = self._store.current()
                wanted = Wanted(settings=settings, revision=revision, claimed=True)
                self._applier.apply(wanted, commit=self._claim.close, progress=progress)
            return {"claimed": True}

    def facts_show(self, progress: Progress, who: Who) -> Any:
        _, settings = self._store.current()
        return self._applier.facts(settings, claimed=self._claim.is_claimed()).to_json()

    def dkim_show(self, progress: Progress, who: Who) -> Any:
        """The keys of each domain and the records that publish them."""
        return self._signing.show()

    def dkim_rotate(self, progress: Progress, who: Who, *, domain: str) -> Any:
        """Prepare the next pair of keys, to be published."""
        with self._lock:
            self._signing.prepare(domain)
        self._again(progress, refresh=False)
        return self._signing.show_one(domain)

    def dkim_switch(self, progress: Progress, who: Who, *, domain: str, force: bool) -> Any:
        """Sign with the next pair: when the DNS shows it, or by `force`."""
        if not force:
            self._signing.refuse_unless_published(domain)
        self._switch(progress, domain)
        return self._signing.show_one(domain)

    def dkim_tend(self, progress: Progress, who: Who) -> Any:
        """Switch wherever the DNS shows the next pair, forget old keys. Asked once a day."""
        switched = self._signing.ready_to_switch()
        for domain in switched:
            self._switch(progress, domain)
        return {"switched": switched}

    def _switch(self, progress: Progress, domain: str) -> None:
        with self._lock:
            before = self._signing.switch(domain)
        try:
            self._again(progress, refresh=False)
        except BaseException:
            self._signing.put_back(before)
            raise

    def reboot(self, progress: Progress, who: Who) -> Any:
        if self._place.dev:
            raise Refused.because("steward.reboot", "This is a checkout; there is no box to start.")
        restart()
        return {}

    def _bring(
        self,
        plan: Callable[[], Settings],
        author: str,
        progress: Progress,
        *,
        base_revision: int | None = None,
    ) -> Any:
        """Plan, apply and store new settings. Nothing is stored that is not in force."""
        with self._lock:
            revision, old = self._store.current()
            if base_revision is not None and base_revision != revision:
                raise Refused.because(
                    "settings.revision",
                    "The settings were changed by somebody else meanwhile.",
                    "Look at the page again, then repeat your change.",
                )
            progress({"step": "check", "state": "running", "seconds": 0.0})
            try:
                settings = plan()
                if settings.rules != old.rules:
                    alias_preview.refuse_boundless(settings)
            except Refused:
                progress({"step": "check", "state": "failed", "seconds": 0.0})
                raise
            progress({"step": "check", "state": "done", "seconds": 0.0})
            if settings == old:
                return {"revision": revision, "changed": []}
            stored: list[tuple[int, tuple[str, ...]]] = []
            wanted = Wanted(
                settings=settings, revision=revision + 1, claimed=self._claim.is_claimed()
            )
            self._applier.apply(
                wanted,
                commit=lambda: stored.append(
                    self._store.commit(settings, author=author, base_revision=revision)
                ),
                progress=progress,
            )
            new_revision, changed = stored[0]
            return {"revision": new_revision, "changed": list(changed)}


def restart() -> None:
    """Restart the machine, soon."""
    run((SYSTEMCTL, "--no-block", "reboot"), timeout_seconds=30)
