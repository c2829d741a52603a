"""Who has an account, as the rules want to know it: no passwords here.

An account's name is the local part of its address in the main domain and in each additional
domain: `r.johnson` is r.johnson@example.com and r.johnson@example.net.
"""

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass

from appliance.mail.address import Address, AddressError, domain_key, parse

TAG = "+"  # anna+shop is anna


@dataclass(frozen=True, slots=True)
class Person:
    """One account. A rate of 0 is the one that the settings give to all."""

    login: str
    enabled: bool = True
    messages_per_hour: int = 0
    recipients_per_hour: int = 0


@dataclass(frozen=True, slots=True)
class People:
    """All accounts by name."""

    by_login: Mapping[str, Person]

    @classmethod
    def of(cls, people: Iterable[Person]) -> "People":
        return cls({person.login: person for person in people})

    def owner(self, address: Address, mail_domains: Set[str]) -> Person | None:
        """Whose address it is, if its domain is one of ours."""
        if address.domain_key not in mail_domains:
            return None
        local = address.local.casefold()
        return self.by_login.get(local) or self.by_login.get(local.partition(TAG)[0])


NOBODY = People({})


def login_of(typed: str, mail_domains: Set[str]) -> str:
    """The account that somebody means who signs in as `typed`: a name, or a whole address in one
    of our domains. Empty when it can be none.
    """
    name, at, domain = typed.strip().casefold().rpartition("@")
    if not at:
        return domain
    try:
        return name if domain_key(domain) in mail_domains else ""
    except AddressError:
        return ""


def address_of(text: str, mail_domains: Set[str], main_domain: str) -> Address | None:
    """`anna` or `anna@example.com` as an address of ours; None when it is somebody else's."""
    try:
        address = parse(text if "@" in text else f"{text}@{main_domain}")
    except AddressError:
        return None
    return address if address.domain_key in mail_domains else None
