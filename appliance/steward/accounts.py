"""`account.*`: the people's accounts. The steward alone writes them; the relay is told.

A password comes in over the steward's socket and is kept as its hash; when none is given, one is
made, and the answer to that call is the only place where it ever stands.
"""

import contextlib
import logging
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from appliance.accounts import passwords
from appliance.accounts.users import MAX_RATE, User, Users, login_name
from appliance.base import control
from appliance.base.clock import Clock
from appliance.base.finding import PennypostError, Refused
from appliance.render.apply import Progress
from appliance.render.facts import Place
from appliance.settings.store import Store
from appliance.steward.action import Action, Who
from appliance.steward.arguments import Argument, short_text, whole_number

TELL_SECONDS = 5.0
_log = logging.getLogger(__name__)


class AccountActions:
    """The actions on DATA/accounts/accounts.db of the box at `place`."""

    def __init__(self, place: Place, store: Store, clock: Clock) -> None:
        self._place = place
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._users: Users | None = None

    def table(self) -> Mapping[str, Action]:
        """The verbs."""
        login = {"login": Argument(short_text(100))}
        password = {"password": Argument(short_text(1000), default="", optional=True)}
        rates = {
            "messages_per_hour": Argument(whole_number(0, MAX_RATE), optional=True),
            "recipients_per_hour": Argument(whole_number(0, MAX_RATE), optional=True),
        }
        name = {"name": Argument(short_text(200), optional=True)}
        return {
            "account.list": Action(do=self.list),
            "account.add": Action(
                do=self.add, arguments=login | name | password | rates, changes=True
            ),
            "account.edit": Action(do=self.edit, arguments=login | name | rates, changes=True),
            "account.password": Action(
                do=self.set_password, arguments=login | password, changes=True
            ),
            "account.enable": Action(do=self.enable, arguments=login, changes=True),
            "account.disable": Action(do=self.disable, arguments=login, changes=True),
            "account.delete": Action(do=self.delete, arguments=login, changes=True),
        }

    def open(self) -> Users:
        """The keeper; opening rolls back what a power cut left half done."""
        if self._users is None:
            path = self._place.data / "accounts" / "accounts.db"
            self._users = Users(path, self._clock)
        return self._users

    def recover(self) -> None:
        """At boot: make the file, or repair it, before the relay reads it."""
        try:
            self.open()
        except sqlite3.Error as error:  # mail goes on without people who sign in
            _log.error("the accounts cannot be opened: %s", error)

    def list(self, progress: Progress, who: Who) -> Any:
        """All accounts with their addresses."""
        with self._keeping():
            return [self._shown(user) for user in self.open().all()]

    def add(
        self,
        progress: Progress,
        who: Who,
        *,
        login: str,
        name: str | None,
        password: str,
        messages_per_hour: int | None,
        recipients_per_hour: int | None,
    ) -> Any:
        """A new account; without a password one is made."""
        wanted = login_name(login)  # before the work of a hash
        chosen, made = _password(password, wanted)
        with self._keeping():
            user = self.open().add(
                wanted,
                name=name or "",
                password_hash=passwords.make_hash(chosen),
                messages_per_hour=messages_per_hour or 0,
                recipients_per_hour=recipients_per_hour or 0,
            )
        return {**self._told(user), **made}

    def edit(self, progress: Progress, who: Who, *, login: str, **changes: Any) -> Any:
        """Another name, or rates of its own (0: those of all)."""
        with self._keeping():
            return self._told(self.open().edit(login, **changes))

    def set_password(self, progress: Progress, who: Who, *, login: str, password: str) -> Any:
        """Another password; without one, it is made."""
        chosen, made = _password(password, login)
        with self._keeping():
            users = self.open()
            users.get(login)  # an unknown one is refused before the work of a hash
            user = users.edit(login, password_hash=passwords.make_hash(chosen))
        return {**self._told(user), **made}

    def enable(self, progress: Progress, who: Who, *, login: str) -> Any:
        with self._keeping():
            return self._told(self.open().edit(login, enabled=True))

    def disable(self, progress: Progress, who: Who, *, login: str) -> Any:
        """Sign-in is refused from now on; mail to the account still comes in."""
        with self._keeping():
            return self._told(self.open().edit(login, enabled=False))

    def delete(self, progress: Progress, who: Who, *, login: str) -> Any:
        with self._keeping():
            users = self.open()
            user = users.get(login)
            users.delete(user.login)
        return {"login": self._told(user)["login"]}

    @contextlib.contextmanager
    def _keeping(self) -> Iterator[None]:
        """One at a time; a file that fails is told in words."""
        with self._lock:
            try:
                yield
            except sqlite3.Error as error:
                raise Refused.because(
                    "account.file",
                    f"The accounts cannot be read or written: {error}.",
                    "Restart the box; if it stays, the disk may be full or broken.",
                ) from error

    def _told(self, user: User) -> dict[str, Any]:
        """Tell the relay; one that does not run reads the accounts when it starts."""
        with contextlib.suppress(PennypostError):
            control.call(
                self._place.run / "relay.sock", "accounts.reload", timeout_seconds=TELL_SECONDS
            )
        return self._shown(user)

    def _shown(self, user: User) -> dict[str, Any]:
        mail = self._store.current()[1].mail
        domains = [name for name in (mail.main_domain, *mail.additional_domains) if name]
        return {
            "login": user.login,
            "name": user.name,
            "enabled": user.enabled,
            "made_at": user.made_at.isoformat(),
            "messages_per_hour": user.messages_per_hour,
            "recipients_per_hour": user.recipients_per_hour,
            "addresses": [f"{user.login}@{domain}" for domain in domains],
        }


def _password(given: str, login: str) -> tuple[str, dict[str, str]]:
    """The password, and what the caller has to be told of it. Raises Refused when it is weak."""
    if not given:
        made = passwords.generate()
        return made, {"password": made}
    judged = passwords.strength(given, name=login)
    if not judged.acceptable:
        raise Refused.because("account.password", f"The password is {judged.word}.", judged.advice)
    return given, {}
