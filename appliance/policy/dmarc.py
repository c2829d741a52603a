"""Is the name that people read in From the one that was authenticated? (RFC 7489, RFC 9989)

SPF vouches for the envelope's domain and DKIM for the signer's; neither is what a
reader sees. DMARC asks that one of them passes *and* belongs to the domain in From
("is aligned"), and lets that domain say what to do with mail that fails:

    _dmarc.example.com  TXT  "v=DMARC1; p=reject; sp=quarantine"

Who belongs to whom is decided by the public suffix list (`psl`). Only a clear "no"
makes a `fail`: where a look-up failed that might have been the "yes", the result is
temperror, and a temperror asks for nothing. `check` never raises.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from appliance.dns.resolver import NoSuchName, Resolver, TemporaryDnsError
from appliance.mail import domain as domains
from appliance.policy import dmarc_record, psl
from appliance.policy.dmarc_record import Record
from appliance.policy.spf import MAX_DOMAIN_TEXT, SpfResult


class DkimSaid(Protocol):
    """What is read of one signature's result."""

    @property
    def result(self) -> str: ...

    @property
    def domain(self) -> str: ...


@dataclass(frozen=True, slots=True)
class DmarcResult:
    """What the check came to.

    `result` is a word of RFC 8601 §2.7.3: pass fail none temperror permerror.
    `disposition` is what to do by the domain's wish, after pct and t: none quarantine
    reject; `policy` is the wish as published (p, sp or np), empty without a record.
    `domain` is the one in From. `aligned_by` is "dkim" or "spf" with a pass.
    """

    result: str
    disposition: str
    domain: str
    organizational_domain: str
    policy: str
    why: str
    aligned_by: str = ""


@dataclass(frozen=True, slots=True)
class _Found:
    """A record and the name it was at."""

    record: Record
    domain: str


async def check(
    resolver: Resolver,
    *,
    from_domains: Sequence[str],
    spf: SpfResult,
    dkim: Sequence[DkimSaid],
    dice: float = 0.0,
    rules: psl.Rules | None = None,
) -> DmarcResult:
    """Judge one message (RFC 7489 §6.6).

    `from_domains` are the domains of the From field's addresses. `dice`, from 0 up to 1,
    decides whether the message is in the share that `pct` names. `rules` is the public
    suffix list; without it Debian's file is read.
    """
    names = {_ascii(name) for name in from_domains}
    if len(names) != 1 or "" in names:
        why = "the From field names " + ("several domains" if len(names) > 1 else "no domain")
        return DmarcResult("permerror", "none", "", "", "", why)
    domain = names.pop()
    undecided = DmarcResult("none", "none", domain, domain, "", f"{domain} has no DMARC policy")
    try:
        rules = rules or psl.load(psl.DEBIAN_LIST)
    except OSError:
        return replace(undecided, result="temperror", why="the public suffix list is missing")
    undecided = replace(undecided, organizational_domain=psl.organizational_domain(domain, rules))
    try:
        found = await _discover(resolver, domain, rules)
        if not found:
            return undecided
        policy = await _policy(resolver, found, domain)
    except TemporaryDnsError:
        return replace(undecided, result="temperror", why="the DMARC policy: no answer")
    return _judged(_Alignment(domain, found, rules), policy, spf, dkim, dice)


def _judged(
    alignment: _Alignment, policy: str, spf: SpfResult, dkim: Sequence[DkimSaid], dice: float
) -> DmarcResult:
    """The result, once the policy is known. Pure."""
    by_dkim = {said.result for said in dkim if alignment.of_dkim(said.domain)}
    by_spf = spf.result if alignment.of_spf(spf.domain) else ""
    known = DmarcResult("fail", "none", alignment.domain, alignment.organization, policy, "")
    domain = alignment.domain
    if "pass" in by_dkim:
        why = f"a signature vouches for {domain}"
        return replace(known, result="pass", why=why, aligned_by="dkim")
    if by_spf == "pass":
        why = f"SPF of {spf.domain} vouches for {domain}"
        return replace(known, result="pass", why=why, aligned_by="spf")
    if "temperror" in by_dkim or by_spf == "temperror":
        return replace(known, result="temperror", why=f"what may vouch for {domain}: no answer")
    record = alignment.found.record
    sampled = dice * 100 < record.percent
    disposition = policy if sampled and not record.testing else dmarc_record.softened(policy)
    why = f"neither SPF nor DKIM vouches for {domain}, which asks for “{policy}”"
    return replace(known, disposition=disposition, why=why)


class _Alignment:
    """Which authenticated domains speak for the one in From (RFC 7489 §3.1)."""

    def __init__(self, domain: str, found: _Found, rules: psl.Rules) -> None:
        self.domain, self.found, self._rules = domain, found, rules
        self.organization = self._organization(domain)

    def of_dkim(self, domain: str) -> bool:
        return self._holds(_ascii(domain), self.found.record.strict_dkim)

    def of_spf(self, domain: str) -> bool:
        return self._holds(_ascii(domain), self.found.record.strict_spf)

    def _holds(self, domain: str, strict: bool) -> bool:
        if not domain or strict or domain == self.domain:
            return domain == self.domain
        return self._organization(domain) == self.organization

    def _organization(self, domain: str) -> str:
        """By the list, unless the record found says where it stands (RFC 9989 §4.10.2)."""
        top, psd = self.found.domain, self.found.record.psd
        if psd == "u" or not (domain == top or domain.endswith(f".{top}")):
            return psl.organizational_domain(domain, self._rules)
        if psd == "n" or domain == top:
            return top
        return domain.removesuffix(f".{top}").rpartition(".")[2] + f".{top}"


async def _discover(resolver: Resolver, domain: str, rules: psl.Rules) -> _Found | None:
    """The policy record that holds for `domain` (RFC 7489 §6.6.3). Raises TemporaryDnsError.

    At the domain, at its organization, and at the public suffix when that says it is one
    (psd=y, RFC 9989 §4.10.1).
    """
    suffix = psl.public_suffix(domain, rules)
    places = dict.fromkeys((domain, psl.organizational_domain(domain, rules), suffix))
    for place in places:
        texts = [text for text in await _texts(resolver, place) if dmarc_record.is_dmarc(text)]
        if len(texts) > 1:
            return None  # RFC 7489 §6.6.3 step 5: not applied at all
        record = dmarc_record.parse(texts[0]) if texts else None
        if texts and (place == domain or place != suffix or (record and record.psd == "y")):
            return _Found(record, place) if record else None
    return None


async def _texts(resolver: Resolver, domain: str) -> tuple[str, ...]:
    name = f"_dmarc.{domain}"
    if len(name) > domains.MAX_DOMAIN_OCTETS:
        return ()
    try:
        return (await resolver.query(name, "TXT")).records
    except NoSuchName:
        return ()


async def _policy(resolver: Resolver, found: _Found, domain: str) -> str:
    """p at the domain itself; below it np for names that do not exist, else sp, else p."""
    record = found.record
    if found.domain == domain:
        return record.p
    inherited = record.sp or record.p
    if record.np and record.np != inherited and not await _exists(resolver, domain):
        return record.np
    return inherited


async def _exists(resolver: Resolver, domain: str) -> bool:
    """Whether the name has an address or a mail exchanger (RFC 9989 §3.2). A failure is a yes."""
    for rdtype in ("A", "AAAA", "MX"):
        try:
            if (await resolver.query(domain, rdtype)).records:
                return True
        except NoSuchName:
            continue
        except TemporaryDnsError:
            return True
    return False


def _ascii(text: str) -> str:
    """The domain in A-labels and lower case; empty when it is none."""
    try:
        return domains.normalise(text) if len(text) < MAX_DOMAIN_TEXT else ""
    except ValueError:
        return ""
