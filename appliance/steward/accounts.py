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

from appliance.accounts import app_passwords, passwords
from appliance.accounts.app_passwords import AppPasswords
from appliance.accounts.removals import MAX_KEEP_DAYS, Fate
from appliance.accounts.table import MAX_CHARACTERS
from appliance.accounts.table import parse as parse_table
from appliance.accounts.users import (
    LANGUAGES,
    MAX_QUOTA_BYTES,
    MAX_RATE,
    User,
    Users,
    login_name,
)
from appliance.base import control
from appliance.base.clock import Clock
from appliance.base.finding import PennypostError, Refused
from appliance.render.apply import Progress
from appliance.render.facts import Place
from appliance.settings.store import Store
from appliance.steward.action import Action, Who
from appliance.steward.arguments import Argument, long_text, one_of, short_text, whole_number
from appliance.steward.mailboxes import MailboxActions

TELL_SECONDS = 5.0
KEEP_DAYS = 30  # a deleted account's mail, unless said otherwise
_log = logging.getLogger(__name__)


class AccountActions:
    """The actions on DATA/accounts/accounts.db of the box at `place`."""

    def __init__(self, place: Place, store: Store, clock: Clock) -> None:
        self._place = place
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._users: Users | None = None
        self._path = place.data / "accounts" / "accounts.db"
        self.mailboxes = MailboxActions(place, self._path, lambda: store.current()[1], clock)

    def table(self) -> Mapping[str, Action]:
        """The verbs."""
        login = {"login": Argument(short_text(100))}
        password = {"password": Argument(short_text(1000), default="", optional=True)}
        rates = {
            "messages_per_hour": Argument(whole_number(0, MAX_RATE), optional=True),
            "recipients_per_hour": Argument(whole_number(0, MAX_RATE), optional=True),
        }
        name = {
            "name": Argument(short_text(200), optional=True),
            "quota_bytes": Argument(whole_number(0, MAX_QUOTA_BYTES), optional=True),
            "language": Argument(one_of(LANGUAGES), optional=True),
        }
        fate = {
            "fate": Argument(one_of(tuple(Fate)), default=Fate.KEEP.value, optional=True),
            "days": Argument(whole_number(1, MAX_KEEP_DAYS), default=KEEP_DAYS, optional=True),
            "heir": Argument(short_text(100), default="", optional=True),
        }
        label = {"label": Argument(short_text(app_passwords.MAX_LABEL_CHARACTERS))}
        number = {"id": Argument(whole_number(1, 2**53))}
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
            "account.delete": Action(do=self.delete, arguments=login | fate, changes=True),
            "account.removals": Action(do=self.removals),
            "account.app_add": Action(do=self.app_add, arguments=login | label, changes=True),
            "account.app_remove": Action(
                do=self.app_remove, arguments=login | number, changes=True
            ),
            "account.import": Action(
                do=self.import_table,
                arguments={"table": Argument(long_text(MAX_CHARACTERS))},
                changes=True,
            ),
            **self.mailboxes.table(),
        }

    def open(self) -> Users:
        """The keeper; opening rolls back what a power cut left half done."""
        if self._users is None:
            self._users = Users(self._path, self._clock)
        return self._users

    def recover(self) -> None:
        """At boot: make the file, or repair it, before the relay reads it."""
        try:
            self.open()
            self.mailboxes.sync()
        except (sqlite3.Error, OSError) as error:  # mail goes on without people who sign in
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
        quota_bytes: int | None,
        language: str | None,
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
                quota_bytes=quota_bytes or 0,
                language=language or "",
            )
        return {**self._told(user), **made}

    def edit(self, progress: Progress, who: Who, *, login: str, **changes: Any) -> Any:
        """Another name or language, or limits of its own (0: those of all)."""
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

    def delete(
        self, progress: Progress, who: Who, *, login: str, fate: str, days: int, heir: str
    ) -> Any:
        """Take it away, and do with its mail as told: keep it for some days, hand it over, erase.

        Without the mailbox disk that waits until it is back.
        """
        with self._keeping():
            users = self.open()
            user = users.get(login)
            shown = self._shown(user)
            users.delete(user.login, Fate(fate), days=days, heir=heir)
            self._tell()
        return {"login": shown["login"], "fate": fate}

    def removals(self, progress: Progress, who: Who) -> Any:
        """Mail of former accounts that is kept, or waits for what is to become of it."""
        with self._keeping():
            return [
                {
                    "login": wish.login,
                    "fate": wish.fate.value,
                    "heir": wish.heir,
                    "erase_at": wish.erase_at.isoformat(),
                    "waits": not wish.aside,
                }
                for wish in self.mailboxes.removals.all()
            ]

    def app_add(self, progress: Progress, who: Who, *, login: str, label: str) -> Any:
        """One more password of an account, for one program; the answer alone holds it."""
        with self._keeping():
            user = self.open().get(login)
            made = AppPasswords(self._path, self._clock).add(user.login, label)
            return {**self._told(self.open().get(login)), "password": made}

    def app_remove(self, progress: Progress, who: Who, *, login: str, id: int) -> Any:
        """It opens nothing any more."""
        with self._keeping():
            user = self.open().get(login)
            AppPasswords(self._path, self._clock).remove(user.login, id)
            return self._told(self.open().get(login))

    def import_table(self, progress: Progress, who: Who, *, table: str) -> Any:
        """Accounts from CSV, all or none. Made passwords stand in the answer alone."""
        rows = parse_table(table)
        with self._keeping():
            users = self.open()
            taken = {user.login for user in users.all()}
            for row in rows:
                if row.login in taken:
                    raise Refused.because(
                        "account.table",
                        f"There is an account {row.login} already.",
                        "Take its line out of the table; nothing was changed.",
                    )
        made = []
        for number, row in enumerate(rows, start=1):  # the hashes, before the file is held
            chosen = row.password or passwords.generate()
            made.append((row, chosen, passwords.make_hash(chosen)))
            progress({"step": f"{number} of {len(rows)}", "state": "done", "seconds": 0.0})
        with self._keeping():
            self.open().add_all(
                (row.login, row.name, hashed, row.quota_bytes, row.language, row.enabled)
                for row, _, hashed in made
            )
            self._tell()
        return [
            {"login": row.login} | ({} if row.password else {"password": chosen})
            for row, chosen, _ in made
        ]

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
        self._tell()
        return self._shown(user)

    def _tell(self) -> None:
        """Tell the relay (one that does not run reads the accounts when it starts) and Dovecot."""
        with contextlib.suppress(PennypostError):
            control.call(
                self._place.run / "relay.sock", "accounts.reload", timeout_seconds=TELL_SECONDS
            )
        try:
            self.mailboxes.sync()
        except (OSError, sqlite3.Error) as error:
            _log.error("Dovecot could not be told of the accounts: %s", error)

    def _shown(self, user: User) -> dict[str, Any]:
        settings = self._store.current()[1]
        mail = settings.mail
        domains = [name for name in (mail.main_domain, *mail.additional_domains) if name]
        addresses = [f"{user.login}@{domain}" for domain in domains]
        return {
            "login": user.login,
            "name": user.name,
            "enabled": user.enabled,
            "made_at": user.made_at.isoformat(),
            "messages_per_hour": user.messages_per_hour,
            "recipients_per_hour": user.recipients_per_hour,
            "quota_bytes": user.quota_bytes,
            "language": user.language,
            "addresses": addresses,
            "aliases": [
                alias.alias
                for alias in settings.rules.aliases
                if not {user.login, *addresses}.isdisjoint(alias.targets)
            ],
            "app_passwords": [
                {"id": one.id, "label": one.label, "made_at": one.made_at.isoformat()}
                for one in (AppPasswords(self._path, self._clock).of(user.login))
            ]
            if user.app_hashes
            else [],
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
