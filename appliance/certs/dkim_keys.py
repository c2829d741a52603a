"""The keys that the box signs mail with: one pair for each of its domains.

    keys/dkim/<domain>/pp1.rsa.pem, pp1e.ed25519.pem    pair 1 and its two selectors
    keys/dkim/<domain>/state.json                       which pair signs, comes, has signed

A pair is an RSA key (everybody checks it) and an Ed25519 key (RFC 8463). Pairs are numbered, and
a number is never used again: the old name may still stand in somebody's DNS cache.

    ensure     makes what a domain lacks; what is there stays
    prepare    makes the next pair; the person publishes it
    switch     the next pair signs, the old one is retired
    tidy       forgets retired pairs, when mail that they signed cannot be under way any more

Keys come before the state that names them, so a power cut leaves at most a pair that nobody
uses. A state that cannot be read is made anew from the keys that are there.
"""

import json
import logging
import re
import shutil
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from appliance.base.clock import Clock
from appliance.base.files import remove_file, replace_file
from appliance.base.finding import Refused
from appliance.policy.dkim_key import SigningKey

_log = logging.getLogger(__name__)
RSA_BITS = 2048  # RFC 8301 §3.2; more does not fit a UDP answer with ease
# Our signatures live 35 days (policy/dkim.py); then nobody needs the old key any more.
RETIRED_KEPT = timedelta(days=40)
_PAIR_FILE = re.compile(r"pp([1-9][0-9]{0,5})\.rsa\.pem\Z")


def make_rsa() -> bytes:
    """A new RSA key as PEM: 50 ms, and a second on a small board."""
    return _pem(rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS))


def make_ed25519() -> bytes:
    return _pem(ed25519.Ed25519PrivateKey.generate())


def _pem(key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


@dataclass(frozen=True, slots=True)
class Pair:
    """One pair of keys of a domain; retired when it does not sign any more."""

    number: int
    made_at: datetime
    retired_at: datetime | None = None

    @property
    def files(self) -> Mapping[str, str]:
        """Selector to file name."""
        return {
            f"pp{self.number}": f"pp{self.number}.rsa.pem",
            f"pp{self.number}e": f"pp{self.number}e.ed25519.pem",
        }

    @property
    def keep_until(self) -> datetime | None:
        """Until when its records must stay in the DNS; None while it signs."""
        return self.retired_at + RETIRED_KEPT if self.retired_at else None

    def to_json(self) -> dict[str, Any]:
        retired = self.retired_at.isoformat() if self.retired_at else None
        return {"number": self.number, "made_at": self.made_at.isoformat(), "retired_at": retired}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Pair":
        retired = raw.get("retired_at")
        return cls(
            int(raw["number"]),
            datetime.fromisoformat(raw["made_at"]),
            datetime.fromisoformat(retired) if retired else None,
        )


@dataclass(frozen=True, slots=True)
class DomainState:
    """The pairs of one domain."""

    domain: str
    current: Pair
    next: Pair | None = None
    retired: tuple[Pair, ...] = ()

    def pairs(self) -> tuple[tuple[str, Pair], ...]:
        """Each with its part: current, next or retired."""
        coming = (("next", self.next),) if self.next else ()
        return (("current", self.current), *coming, *(("retired", pair) for pair in self.retired))

    def to_json(self) -> dict[str, Any]:
        return {
            "current": self.current.to_json(),
            "next": self.next.to_json() if self.next else None,
            "retired": [pair.to_json() for pair in self.retired],
        }


@dataclass(frozen=True, slots=True)
class KeyFile:
    """One key as the rendered facts name it; `record` is the public TXT value."""

    domain: str
    selector: str
    algorithm: str
    path: Path
    part: str  # current, next or retired
    record: str

    @property
    def name(self) -> str:
        """Where the record belongs."""
        return f"{self.selector}._domainkey.{self.domain}"

    def to_json(self) -> dict[str, str]:
        return {
            "domain": self.domain,
            "selector": self.selector,
            "algorithm": self.algorithm,
            "path": str(self.path),
            "part": self.part,
            "name": self.name,
            "record": self.record,
        }


class DkimKeys:
    """The signing keys of one box. `group` may read them: the relay signs."""

    def __init__(self, folder: Path, clock: Clock, *, group: str | None = None) -> None:
        self.folder = folder
        self._clock = clock
        self._group = group

    def ensure(self, domains: Iterable[str]) -> None:
        """A pair for each domain that has none, or none that can be read."""
        for domain in domains:
            state = self._read(domain)
            if state is None or not self._is_whole(domain, state.current):
                self._write(self._begun(domain, state))
            self.tidy(domain)

    def state(self, domain: str) -> DomainState:
        """The pairs of a domain. Raises Refused when there are none."""
        state = self._read(domain)
        if state is None:
            raise Refused.because("dkim.domain", f"There are no signing keys for {domain}.")
        return state

    def files(self, domains: Iterable[str], parts: Collection[str]) -> tuple[KeyFile, ...]:
        """The key files of the domains that play one of `parts`. Unreadable ones are left out."""
        return tuple(
            file
            for domain in domains
            if (state := self._read(domain))
            for part, pair in state.pairs()
            if part in parts
            for file in self._files_of(domain, part, pair)
        )

    def prepare(self, domain: str) -> DomainState:
        """The next pair is made; if there is one already, that is it."""
        state = self.state(domain)
        if state.next is None or not self._is_whole(domain, state.next):
            state = replace(state, next=self._make_pair(domain))
            self._write(state)
        return state

    def switch(self, domain: str) -> DomainState:
        """The next pair signs from now on. Raises Refused when none was prepared."""
        state = self.state(domain)
        if state.next is None or not self._is_whole(domain, state.next):
            raise Refused.because(
                "dkim.next",
                f"No next key is prepared for {domain}.",
                "Prepare one, publish its records, then switch.",
            )
        old = replace(state.current, retired_at=self._clock.now())
        state = DomainState(domain, state.next, None, (old, *state.retired))
        self._write(state)
        return state

    def put_back(self, state: DomainState) -> None:
        """Go back to an earlier state: the relay could not be told of the new one."""
        self._write(state)

    def tidy(self, domain: str) -> None:
        """Forget retired pairs whose time is over, and their keys. Never one that signs."""
        state = self._read(domain)
        if state is None:
            return
        now = self._clock.now()
        over = {p.number for p in state.retired if p.keep_until and p.keep_until < now}
        over -= {state.current.number} | ({state.next.number} if state.next else set())
        if over:
            kept = tuple(pair for pair in state.retired if pair.number not in over)
            gone = [pair for pair in state.retired if pair.number in over]
            self._write(replace(state, retired=kept))
            for name in [name for pair in gone for name in pair.files.values()]:
                remove_file(self._folder_of(domain) / name)

    def _begun(self, domain: str, state: DomainState | None) -> DomainState:
        """A first state: with keys that are there already (a lost state file), or new ones."""
        if state is not None:
            _log.error("the signing key of %s cannot be read; a new one is made", domain)
            return replace(state, current=self._make_pair(domain))
        for number in sorted(self._numbers(domain), reverse=True):
            pair = Pair(number, self._clock.now())
            if self._is_whole(domain, pair):
                return DomainState(domain, pair)
        return DomainState(domain, self._make_pair(domain))

    def _make_pair(self, domain: str) -> Pair:
        pair = Pair(max(self._numbers(domain), default=0) + 1, self._clock.now())
        folder = self._make_folder(domain)
        mode = 0o640 if self._group else 0o600
        makers: tuple[Callable[[], bytes], ...] = (make_rsa, make_ed25519)
        for name, make in zip(pair.files.values(), makers, strict=True):
            replace_file(folder / name, make(), mode=mode, group=self._group)
        return pair

    def _make_folder(self, domain: str) -> Path:
        folder = self._folder_of(domain)
        for path in (self.folder, folder):
            path.mkdir(mode=0o750, parents=True, exist_ok=True)
            if self._group:
                shutil.chown(path, group=self._group)
                path.chmod(0o750)
        return folder

    def _numbers(self, domain: str) -> set[int]:
        """Every number that was ever used and is still known."""
        folder = self._folder_of(domain)
        names = folder.iterdir() if folder.is_dir() else ()
        on_disk = {int(found[1]) for path in names if (found := _PAIR_FILE.match(path.name))}
        state = self._read(domain)
        return on_disk | ({pair.number for _, pair in state.pairs()} if state else set())

    def _is_whole(self, domain: str, pair: Pair) -> bool:
        return len(self._files_of(domain, "", pair)) == len(pair.files)

    def _files_of(self, domain: str, part: str, pair: Pair) -> list[KeyFile]:
        found = []
        for selector, name in pair.files.items():
            path = self._folder_of(domain) / name
            try:
                key = SigningKey.from_pem(domain, selector, path.read_bytes())
            except (OSError, ValueError):
                continue
            found.append(KeyFile(domain, selector, key.algorithm, path, part, key.record()))
        return found

    def _folder_of(self, domain: str) -> Path:
        if "/" in domain or domain.startswith("."):
            raise ValueError("not a domain")  # settings hold checked domains only
        return self.folder / domain

    def _read(self, domain: str) -> DomainState | None:
        try:
            raw = json.loads((self._folder_of(domain) / "state.json").read_bytes())
            coming = Pair.from_json(raw["next"]) if raw["next"] else None
            retired = tuple(Pair.from_json(entry) for entry in raw["retired"])
            return DomainState(domain, Pair.from_json(raw["current"]), coming, retired)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):
            _log.exception("the state of the signing keys of %s cannot be read", domain)
            return None

    def _write(self, state: DomainState) -> None:
        data = json.dumps(state.to_json(), indent=1).encode() + b"\n"
        replace_file(self._make_folder(state.domain) / "state.json", data, mode=0o600)


def load_signing_keys(facts: Mapping[str, Any]) -> dict[str, tuple[SigningKey, ...]]:
    """The keys to sign with, by domain, from the rendered facts; for the relay.

    A key that cannot be read is logged and left out: mail goes unsigned rather than not at all.
    """
    keys: dict[str, list[SigningKey]] = {}
    for entry in facts.get("dkim_keys", ()):
        if entry.get("part", "current") != "current":
            continue
        try:
            pem = Path(entry["path"]).read_bytes()
            key = SigningKey.from_pem(entry["domain"], entry["selector"], pem)
        except (OSError, ValueError) as error:
            _log.error("the signing key %s cannot be read: %s", entry["path"], error)
            continue
        keys.setdefault(key.domain, []).append(key)
    return {domain: tuple(pair) for domain, pair in keys.items()}
