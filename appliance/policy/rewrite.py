"""Aliases, groups and chains: to whom mail for an address finally goes (FEATURES R1, R2). Pure.

The rules, in the order in which they are asked:

* An alias of the very address, then one of its name without a domain (it answers in all our mail
  domains); then the same without the `+tag` of the name.
* A mailbox of that name. A `+tag` stays with the mailbox that it names.
* Aliases among the targets are followed. One that names itself keeps a copy in the mailbox of
  its name; without itself the mail only goes on.
* In a circle (anna to bert, bert to anna) mail could go round for ever: every mailbox in the
  circle gets one copy, and it ends there. An alias that names itself is the smallest circle.
* Every mailbox and every address once, in the order in which they are met, the nearest first.

An alias that leads to more than MAX_TARGETS places or over more than MAX_DEPTH others has
`trouble` and no targets: mail for it is put off until somebody has looked, and never half sent.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from appliance.mail.address import Address, AddressError, parse
from appliance.settings.rules_section import Alias

MAX_TARGETS = 1_000
MAX_DEPTH = 20

Key = tuple[str, str]  # name in lower case, domain key; no domain: any of our mail domains


class Kind(StrEnum):
    """What an address is to the box."""

    MAILBOX = "mailbox"
    RELAY = "relay"  # of a relay domain: the next hop knows
    OUTSIDE = "outside"


@dataclass(frozen=True, slots=True)
class Target:
    """Where mail ends. `via` are the aliases on the way, the first one first."""

    address: Address
    kind: Kind
    via: tuple[str, ...] = ()

    @property
    def key(self) -> Key:
        """Equal for what is the same place: a mailbox is one in all our mail domains."""
        if self.kind is Kind.MAILBOX:
            return _base(_plain(self.address.local).lower()), ""
        return self.address.local, self.address.domain_key


@dataclass(frozen=True, slots=True)
class Expansion:
    """What an address stands for. An address that is nobody's has neither targets nor trouble."""

    targets: tuple[Target, ...] = ()
    is_alias: bool = False
    circle: tuple[str, ...] = ()  # the aliases that go round, if some do
    unknown: tuple[str, ...] = ()  # targets in our domains that nobody has
    trouble: str = ""  # why it is not followed


@dataclass(frozen=True, slots=True)
class Domains:
    """Which domains are whose, as keys."""

    main: str
    mail: Collection[str]
    relay: Collection[str] = ()


class Aliases:
    """The aliases of the settings, made once a change. Domains that are not ours are left out."""

    def __init__(self, aliases: Iterable[Alias], domains: Domains) -> None:
        self.domains = domains
        self._targets: dict[Key, tuple[Address, ...]] = {}
        for alias in aliases:
            local, _, domain = alias.alias.rpartition("@")
            key = (local, domain) if local else (domain, "")
            if not key[1] or key[1] in domains.mail or key[1] in domains.relay:
                self._targets.setdefault(key, tuple(self._addresses(alias.targets)))
        self._after = {key: self._aliases_after(key) for key in self._targets}
        self._circles = _circles(self._after)
        self._known: dict[Address, Expansion] = {}
        self._known_for: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return len(self._targets)

    def expand(self, address: Address, accounts: frozenset[str]) -> Expansion:
        """Where mail for `address` goes. `accounts` are the names of the mailboxes."""
        start = self._find(address) if self._targets else None
        if start is None:
            target = self._place(address, accounts)
            return Expansion((target,) if target else ())
        if self._known_for is not accounts or len(self._known) > 10_000:
            self._known, self._known_for = {}, accounts
        found = self._known.get(address)
        if found is None:
            found = self._known[address] = self._follow(start, address, accounts)
        return found

    def trouble(self) -> tuple[str, str] | None:
        """The first alias that cannot be followed, and why."""
        for key in self._targets:
            found = self._follow(key, self._address(key), frozenset())
            if found.trouble:
                return name_of(key), found.trouble
        return None

    def _follow(self, start: Key, address: Address, accounts: frozenset[str]) -> Expansion:
        """Level by level, so that the shortest way to each target is the one that counts."""
        found = _Found(tag=_tag(address.local) if start[0] == _base(address.local.lower()) else "")
        level: list[tuple[Key, tuple[str, ...]]] = [(start, (name_of(start),))]
        visited = {start}
        for depth in range(MAX_DEPTH + 1):
            following: list[tuple[Key, tuple[str, ...]]] = []
            if depth == MAX_DEPTH and level:
                return Expansion(
                    (), is_alias=True, trouble=f"over more than {MAX_DEPTH} aliases in a row"
                )
            for key, via in level:
                self._collect(found, key, via, accounts, keeps_tag=key == start)
                for after in self._after[key]:
                    if after not in visited:
                        visited.add(after)
                        following.append((after, (*via, name_of(after))))
                if len(found.targets) + len(found.unknown) > MAX_TARGETS:
                    why = f"to more than {MAX_TARGETS} targets"
                    return Expansion((), is_alias=True, trouble=why)
            level = following
        circle = next((self._circles[key] for key in visited if key in self._circles), ())
        return Expansion(
            tuple(found.targets.values()),
            is_alias=True,
            circle=tuple(name_of(key) for key in circle),
            unknown=tuple(found.unknown),
        )

    def _collect(
        self,
        found: "_Found",
        key: Key,
        via: tuple[str, ...],
        accounts: frozenset[str],
        *,
        keeps_tag: bool,
    ) -> None:
        """The places that one alias names itself, and its own mailbox where it keeps a copy."""
        if key in self._circles and key[0] in accounts and self._is_ours(key[1]):
            found.add(self._mailbox(key[0], found.tag if keeps_tag else "", via))
        for address in self._targets[key]:
            after = self._find(address)
            if after == key:
                if key[0] in accounts and self._is_ours(key[1]):
                    found.add(self._mailbox(key[0], found.tag if keeps_tag else "", via))
                else:
                    found.unknown[str(address)] = None
            elif after is None:
                place = self._place(address, accounts, via)
                if place is None:
                    found.unknown[str(address)] = None
                else:
                    found.add(place)

    def _place(
        self, address: Address, accounts: Collection[str], via: tuple[str, ...] = ()
    ) -> Target | None:
        """An address that is no alias; None when it is in our domains and nobody's."""
        domain = address.domain_key or self.domains.main
        if domain in self.domains.mail or not domain:
            local = _plain(address.local).lower()
            if local in accounts or _base(local) in accounts:
                base = local if local in accounts else _base(local)
                if not via:  # as the sender wrote it, but for the key
                    return Target(address, Kind.MAILBOX)
                return self._mailbox(base, local[len(base) :], via)
            return None
        kind = Kind.RELAY if domain in self.domains.relay else Kind.OUTSIDE
        return Target(address, kind, via)

    def _mailbox(self, name: str, tag: str, via: tuple[str, ...]) -> Target:
        main = self.domains.main
        return Target(Address(name + tag, main, main), Kind.MAILBOX, via)

    def _find(self, address: Address) -> Key | None:
        """The alias that answers for an address."""
        local, domain = _plain(address.local).lower(), address.domain_key or self.domains.main
        ours = self._is_ours(domain)
        for name in dict.fromkeys((local, _base(local))):
            if (name, domain) in self._targets:
                return name, domain
            if ours and (name, "") in self._targets:
                return name, ""
        return None

    def _is_ours(self, domain: str) -> bool:
        return not domain or domain in self.domains.mail

    def _aliases_after(self, key: Key) -> tuple[Key, ...]:
        """The aliases among an alias's targets, itself left out."""
        found = (self._find(address) for address in self._targets[key])
        return tuple(dict.fromkeys(after for after in found if after is not None and after != key))

    def _addresses(self, texts: Iterable[str]) -> Iterator[Address]:
        for text in texts:
            local, at, domain = text.rpartition("@")
            if at:
                try:
                    yield parse(text)
                except AddressError:  # a stricter grammar than when it was saved
                    continue
            else:
                local = domain
                yield Address(local, self.domains.main, self.domains.main)

    def _address(self, key: Key) -> Address:
        domain = key[1] or self.domains.main
        return Address(key[0], domain, domain)


@dataclass(slots=True)
class _Found:
    """What an expansion has met so far."""

    tag: str
    targets: dict[Key, Target] = field(default_factory=dict)
    unknown: dict[str, None] = field(default_factory=dict)  # in order, each once

    def add(self, target: Target) -> None:
        self.targets.setdefault(target.key, target)


def name_of(key: Key) -> str:
    """An alias as people write it."""
    return f"{key[0]}@{key[1]}" if key[1] else key[0]


def _circles(after: Mapping[Key, tuple[Key, ...]]) -> dict[Key, tuple[Key, ...]]:
    """For each alias that goes round with others: all of them (Tarjan's components, no recursion).

    The answer does not depend on where one begins.
    """
    number: dict[Key, int] = {}
    low: dict[Key, int] = {}
    stack: list[Key] = []
    on_stack: set[Key] = set()
    found: dict[Key, tuple[Key, ...]] = {}

    def enter(key: Key) -> tuple[Key, Iterator[Key]]:
        number[key] = low[key] = len(number)
        stack.append(key)
        on_stack.add(key)
        return key, iter(after[key])

    for root in after:
        if root in number:
            continue
        path = [enter(root)]
        while path:
            key, rest = path[-1]
            following = next(rest, None)
            if following is not None:
                if following not in number:
                    path.append(enter(following))
                elif following in on_stack:
                    low[key] = min(low[key], number[following])
                continue
            path.pop()
            if path:
                low[path[-1][0]] = min(low[path[-1][0]], low[key])
            if low[key] == number[key]:
                members: list[Key] = []
                while not members or members[-1] != key:
                    members.append(stack.pop())
                on_stack.difference_update(members)
                component = tuple(sorted(members))
                if len(component) > 1:
                    found.update(dict.fromkeys(component, component))
    return found


def _plain(local: str) -> str:
    """A quoted local part as what it means, where it needs no quotes."""
    if local.startswith('"') and "\\" not in local and " " not in local:
        return local[1:-1]
    return local


def _base(local: str) -> str:
    """The name without its tag; a name that begins with + is all name."""
    at = local.find("+", 1)
    return local if at < 0 else local[:at]


def _tag(local: str) -> str:
    return local[len(_base(local)) :]
