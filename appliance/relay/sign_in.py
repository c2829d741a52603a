"""Passwords of the people who send (RFC 4954), checked beside the loop.

A check costs 19 MiB and some hundredths of a second, so it runs in a thread, two at once; more
than `MAX_WAITING` in line are asked to come again. Unknown and disabled accounts take as long as
known ones, and are refused in the same words.
"""

import asyncio
import contextlib
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from appliance.accounts import app_passwords, passwords
from appliance.accounts.users import User, read_user, read_users
from appliance.base.finding import PennypostError
from appliance.memory.log_ins import LogIns
from appliance.memory.throttle import Throttle
from appliance.policy.people import People, Person

MAX_WAITING = 64


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a try: `login` when it was right; else perhaps how long to wait."""

    login: str = ""
    wait_seconds: float = 0.0
    trouble: str = ""  # it could not be looked at: why, for the log


class SignIn:
    """The accounts at `users`, with the counter that all doors share."""

    def __init__(self, users: Path, throttle: Throttle, log_ins: LogIns | None = None) -> None:
        self.throttle = throttle
        self.log_ins = log_ins
        self._users = users
        self._waiting = 0
        self._threads = ThreadPoolExecutor(passwords.HASHES_AT_ONCE, "sign-in")

    def people(self) -> People:
        """All accounts, for the rules. Raises sqlite3.Error when they cannot be read."""
        return People.of(_person(user) for user in read_users(self._users))

    async def check(self, login: str, password: str, *, client: str, trusted: bool) -> Outcome:
        """Whether the password is that of account `login`, and the client may try at all."""
        if self._waiting >= MAX_WAITING:
            return Outcome(trouble="too many at once")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._threads, self._check, login, password, client, trusted
            )
        except (sqlite3.Error, PennypostError) as error:
            return Outcome(trouble=str(error))
        finally:
            self._waiting -= 1

    def note(self, login: str, way: str, client: str) -> None:
        """Remember that an account signed in; that it cannot be remembered hinders nobody."""
        if self.log_ins is not None:
            with contextlib.suppress(sqlite3.Error):
                self.log_ins.note(login, way, client)

    def close(self) -> None:
        """Wait for what is being checked."""
        self._threads.shutdown()

    def _check(self, login: str, password: str, client: str, trusted: bool) -> Outcome:
        wait = self.throttle.try_now(login, client, trusted=trusted)
        if wait > 0:
            return Outcome(wait_seconds=wait)
        user = read_user(self._users, login)
        known = user.password_hash if user is not None and user.enabled else None
        extra = user.app_hashes if user is not None and user.enabled else ()
        if not app_passwords.any_matches(extra, password) and not passwords.matches(
            known, password
        ):
            return Outcome()
        self.throttle.forgive(login, client, trusted=trusted)
        self.note(login, "smtp", client)
        return Outcome(login=login)


def _person(user: User) -> Person:
    return Person(
        user.login,
        enabled=user.enabled,
        messages_per_hour=user.messages_per_hour,
        recipients_per_hour=user.recipients_per_hour,
    )
