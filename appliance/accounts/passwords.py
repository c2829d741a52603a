"""Passwords: how they are hashed, checked and judged.

Hashing is argon2id with the parameters OWASP names first for small machines (19 MiB of
memory, two passes, one lane). Because each check costs 19 MiB, at most two run at once; who
waits longer than a few seconds is told that the box is busy, so that a flood of guesses can't
take the memory from mail.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHash, VerificationError
from argon2.low_level import Type

from appliance.base.finding import Finding, Refused, Result

MIN_PASSWORD_CHARACTERS = 10
MAX_PASSWORD_CHARACTERS = 200  # longer ones only cost time; nobody types them
HASHES_AT_ONCE = 2
WAIT_FOR_HASH_SECONDS = 8.0

_hasher = PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1, type=Type.ID)
_turn = threading.BoundedSemaphore(HASHES_AT_ONCE)
# What an unknown name is checked against, so that it takes as long as a known one. Made on
# first use: it costs as much as a check and need not delay the start.
_nobody: list[str] = []

# The few that every guessing list begins with, and words a person takes from this very page.
_COMMON = (
    "password", "passwort", "passw0rd", "kennwort", "letmein", "welcome", "willkommen",
    "qwertz", "qwerty", "asdfgh", "admin", "administrator", "pennypost", "secret", "geheim",
    "mailserver", "iloveyou", "hallo", "sommer", "winter", "summer", "schatz", "changeme",
)  # fmt: skip
_CLEAR = "abcdefghjkmnpqrstuvwxyz23456789"  # no i, l, o, 0, 1, which look alike
_RUNS = ("0123456789", "abcdefghijklmnopqrstuvwxyz", "qwertyuiop", "qwertzuiop", "asdfghjkl")


@dataclass(frozen=True, slots=True)
class Strength:
    """How long a password would stand: `score` 0 (refused) to 4, and why in a word."""

    score: int
    word: str
    advice: str

    @property
    def acceptable(self) -> bool:
        return self.score >= 2


@contextmanager
def _taking_turns() -> Iterator[None]:
    if not _turn.acquire(timeout=WAIT_FOR_HASH_SECONDS):
        raise Refused(
            Finding(
                check="sign-in",
                result=Result.WARN,
                say="The box is checking many passwords at the moment.",
                fix="Try again in a few seconds.",
            )
        )
    try:
        yield
    finally:
        _turn.release()


def make_hash(password: str) -> str:
    """Return the argon2id hash of `password` in PHC form."""
    with _taking_turns():
        return str(_hasher.hash(password))


def matches(password_hash: str | None, password: str) -> bool:
    """Tell whether `password` fits; `None` (no such account) takes just as long and is False."""
    if len(password) > MAX_PASSWORD_CHARACTERS:
        return False
    with _taking_turns():
        if not _nobody:
            _nobody.append(_hasher.hash("nobody has this"))
        try:
            fits = bool(_hasher.verify(password_hash or _nobody[0], password))
            return fits and password_hash is not None
        except (VerificationError, InvalidHash):
            return False


def generate() -> str:
    """A password to be typed once: four groups of five, about 99 bits."""
    return "-".join("".join(secrets.choice(_CLEAR) for _ in range(5)) for _ in range(4))


def needs_new_hash(password_hash: str) -> bool:
    """Tell whether the hash was made with other parameters than today's."""
    return bool(_hasher.check_needs_rehash(password_hash))


def _without_runs(text: str) -> int:
    """Count characters, taking repeats and keyboard runs ("aaaa", "1234") as one each."""
    count, previous = 0, ""
    for letter in text:
        repeated = letter == previous
        follows = any(previous and previous + letter in run for run in _RUNS) or any(
            previous and previous + letter in run[::-1] for run in _RUNS
        )
        count += 0 if repeated or follows else 1
        previous = letter
    return count


def strength(password: str, *, name: str = "") -> Strength:
    """Judge a password by its length in earnest characters; long beats odd (NIST SP 800-63B).

    `static/pennypost.js` holds the same rule, so that the meter moves while one types; the
    tests compare the two.
    """
    if len(password) < MIN_PASSWORD_CHARACTERS:
        return Strength(0, "too short", "Use at least 10 characters; three or four words do well.")
    if len(password) > MAX_PASSWORD_CHARACTERS:
        return Strength(0, "too long", "Use at most 200 characters.")
    lowered = password.lower()
    for word in (*_COMMON, name.lower()):
        if len(word) >= 4:
            lowered = lowered.replace(word, "")
    worth = _without_runs(lowered)
    kinds = sum(
        (
            any(c.islower() for c in password),
            any(c.isupper() for c in password),
            any(c.isdigit() for c in password),
            any(not c.isalnum() for c in password),
        )
    )
    points = worth + 2 * (kinds - 1)
    if points < 9:
        return Strength(1, "easy to guess", "Add a word or two that have nothing to do with it.")
    if points < 14:
        return Strength(2, "fair", "One more word makes it good.")
    if points < 19:
        return Strength(3, "good", "")
    return Strength(4, "strong", "")
