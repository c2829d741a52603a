"""`mailboxes.*`: what Dovecot knows of people, and the mail of those who are gone.

After each change of an account, and whenever the mailbox disk comes or goes (its daemon
says so), the files in RUN/mailboxes are written anew. Without the disk they say “come
again later”, and who is connected is put out.
"""

import contextlib
import json
import logging
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from appliance.accounts.homes import Homes
from appliance.accounts.removals import Removals
from appliance.accounts.users import User, login_name, read_users
from appliance.base import control
from appliance.base.clock import Clock
from appliance.base.files import replace_file
from appliance.base.finding import PennypostError, Refused
from appliance.base.run import run
from appliance.render import dovecot, dovecot_users, mailbox_folders
from appliance.render.apply import Progress
from appliance.render.facts import Place
from appliance.settings.schema import Settings
from appliance.steward.action import Action, Who
from appliance.steward.arguments import Argument, short_text
from appliance.steward.mail_import import MailImport, by_doveadm

DOVEADM = "/usr/bin/doveadm"
SERVER = "/run/dovecot/doveadm-server"
TELL_SECONDS, KICK_SECONDS, EXPUNGE_SECONDS = 15.0, 15.0, 1800.0
IMPORT_SECONDS = 600.0  # for one lot of letters
MAIL_DISK = "maildisk.json"
_log = logging.getLogger(__name__)


class MailboxActions:
    """The mailboxes of the box at `place`, whose accounts are in the file `users`."""

    def __init__(
        self, place: Place, users: Path, settings: Callable[[], Settings], clock: Clock
    ) -> None:
        self._place = place
        self._users = users
        self._settings = settings
        self._clock = clock
        self._folder = place.run / "mailboxes"
        self._homes = Homes(place.mail_root, None if place.dev else dovecot.MAIL_USER)
        self._import = MailImport(
            place.mail_root,
            by_doveadm(self._ask_dovecot),
            None if place.dev else dovecot.MAIL_USER,
        )
        self._mark = self._folder / "ready"  # the steward ends when idle and forgets
        self.removals = Removals(users)

    def table(self) -> Mapping[str, Action]:
        """The verbs."""
        return {
            "mailboxes.sync": Action(do=self.sync_now, changes=True),
            "mailboxes.tidy": Action(do=self.tidy, changes=True),
            "mailboxes.import": Action(
                do=self.import_mail,
                arguments={
                    "login": Argument(short_text(100)),
                    "name": Argument(short_text(200)),
                },
                who=Who.ROOT,
                changes=True,
            ),
        }

    def sync_now(self, progress: Progress, who: Who) -> Any:
        """Look at the disk and at the accounts again."""
        return {"ready": self.sync()}

    def sync(self) -> bool:
        """Have Dovecot know the accounts as they are; whether their mail can be reached."""
        if self._place.dev:  # there is no Dovecot in a checkout
            return False
        ready = is_ready(self._place.run / MAIL_DISK)
        users = read_users(self._users)
        if ready:
            self._settle()
        was_ready = self._mark.exists()
        self._write(users, ready)
        if ready and not was_ready:
            self._mark.touch()
            self._draw_what_waits()
        elif was_ready and not ready:
            self._mark.unlink()
            self._put_out()
        return ready

    def tidy(self, progress: Progress, who: Who) -> Any:
        """Remove what has lain in trash and junk for long enough; asked every night.

        Dovecot does so itself when somebody is connected; this is for the mailboxes of the others.
        """
        if not self.sync():
            return {"ready": False}
        mailboxes = self._settings().mailboxes
        if mailboxes.enabled:
            for language in mailbox_folders.languages():
                for name, days in (("Trash", mailboxes.trash_days), ("Junk", mailboxes.junk_days)):
                    if days:
                        self._expunge(language, name, days)
        return {"ready": True}

    def import_mail(self, progress: Progress, who: Who, *, login: str, name: str) -> Any:
        """Bring mail that lies in MAIL/import into an account's mailbox."""
        if not self.sync() or not self._settings().mailboxes.enabled:
            raise Refused.because(
                "import.shut", "The mailboxes are shut.", "Look at: pennypost disk status"
            )
        wanted = login_name(login)
        users = {user.login: user for user in read_users(self._users)}
        if wanted not in users:
            raise Refused.because("import.login", f"There is no account {wanted}.")
        language = users[wanted].language or self._settings().box.language
        return self._import.run(
            progress,
            login=wanted,
            name=name,
            named=lambda use: mailbox_folders.folder_name(use, language),
        )

    def _settle(self) -> None:
        """What could not be done while the disk was away. Mail goes on if it cannot be done."""
        try:
            self._homes.prepare()
            self._homes.carry_out(self.removals, self._clock.now())
        except (OSError, sqlite3.Error) as error:
            _log.error("mail of former accounts could not be put away: %s", error)

    def _write(self, users: tuple[User, ...], ready: bool) -> None:
        language = self._settings().box.language
        self._folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        dovecot_users.write_files(
            self._folder, users, language=language, ready=ready, group=dovecot_users.GROUP
        )
        for spoken, logins in dovecot_users.by_language(users, language).items():
            text = "".join(f"{login}\n" for login in logins)
            replace_file(self._folder / f"speak-{spoken}", text.encode(), mode=0o600)

    def _draw_what_waits(self) -> None:
        """Have the relay try now what waited for the disk, not at its next turn."""
        mail = self._settings().mail
        for domain in filter(None, (mail.main_domain, *mail.additional_domains)):
            asked = {"search": f"@{domain}", "author": "mailboxes"}
            with contextlib.suppress(PennypostError):  # one that does not run tries at its start
                control.call(
                    self._place.run / "relay.sock",
                    "queue.send",
                    asked,
                    timeout_seconds=TELL_SECONDS,
                )

    def _put_out(self) -> None:
        """End the sessions that still hold files of a disk that is gone."""
        self._doveadm(("kick", "*"), KICK_SECONDS)

    def _expunge(self, language: str, name: str, days: int) -> None:
        folder = mailbox_folders.folder_name(name, language)
        people = str(self._folder / f"speak-{language}")
        words = ("mailbox", folder, "savedbefore", f"{days}d")
        self._doveadm(("expunge", "-S", SERVER, "-F", people, *words), EXPUNGE_SECONDS)

    def _ask_dovecot(self, words: tuple[str, ...]) -> None:
        """Have Dovecot's own helper do it, which may read and write the mail."""
        config = str(self._place.run / "rendered" / dovecot.FILE)
        verb, *rest = words
        argv = (DOVEADM, "-c", config, verb, "-S", SERVER, *rest)
        run(argv, timeout_seconds=IMPORT_SECONDS)

    def _doveadm(self, words: tuple[str, ...], seconds: float) -> None:
        config = self._place.run / "rendered" / dovecot.FILE
        if not config.exists():  # it does not run
            return
        try:
            run((DOVEADM, "-c", str(config), *words), timeout_seconds=seconds)
        except PennypostError as error:
            _log.warning("%s", error.finding.say)


def is_ready(path: Path) -> bool:
    """Whether the mailbox disk can be used, as its keeper says; silence is no."""
    try:
        told = json.loads(path.read_bytes())
        return bool(told.get("usable", told.get("state") == "ready"))
    except (OSError, ValueError, AttributeError):
        return False
