"""Rules across settings: what single fields cannot say.

`refuse_contradictions` is asked before anything is stored; `findings` is what the
pages show as well, down to advice that hinders nothing.
"""

from __future__ import annotations

import ipaddress

from appliance.base.finding import Finding, Refused, Result
from appliance.settings import network
from appliance.settings.schema import Settings

_WIDE_IPV4_PREFIX = 8  # a trusted network wider than this holds a good part of the Internet
_WIDE_IPV6_PREFIX = 32


def findings(settings: Settings) -> list[Finding]:
    """All contradictions (BAD) and doubts (WARN), contradictions first."""
    found = [
        *_domain_clashes(settings),
        *_what_mail_needs(settings),
        *_smarthost(settings),
        *_queue_times(settings),
        *_trusted_networks(settings),
        *_aliases(settings),
        *_viruses(settings),
        *network.findings(settings.network),
    ]
    return sorted(found, key=lambda finding: finding.result is not Result.BAD)


def refuse_contradictions(settings: Settings) -> None:
    """Raise Refused with the first BAD finding, if there is one."""
    for finding in findings(settings):
        if finding.result is Result.BAD:
            raise Refused(finding)


def _bad(name: str, say: str, fix: str, means: str = "") -> Finding:
    return Finding(check=f"settings.{name}", result=Result.BAD, say=say, means=means, fix=fix)


def _domain_clashes(settings: Settings) -> list[Finding]:
    """G5: a relay domain is not a mail domain, and no domain is named twice."""
    mail = settings.mail
    own = {mail.main_domain: "the main mail domain"} if mail.main_domain else {}
    own |= dict.fromkeys(mail.additional_domains, "an additional mail domain")
    found = []
    for relay in mail.relay_domains:
        if relay.domain in own:
            found.append(
                _bad(
                    "mail.relay_domains",
                    f"{relay.domain} is {own[relay.domain]} and a relay domain too.",
                    "Take it out of one of the two. When all mailboxes are on the next hop, "
                    "invent a main domain such as box.invalid.",
                    "Mail for it cannot both stay here and be handed on.",
                )
            )
    if mail.main_domain in mail.additional_domains:
        found.append(
            _bad(
                "mail.additional_domains",
                f"{mail.main_domain} is the main mail domain already.",
                "Take it out of the additional domains.",
            )
        )
    seen: set[str] = set()
    for relay in mail.relay_domains:
        if relay.domain in seen:
            found.append(
                _bad(
                    "mail.relay_domains",
                    f"{relay.domain} has two next hops.",
                    "Keep one entry for each relay domain.",
                )
            )
        seen.add(relay.domain)
    return found


def _what_mail_needs(settings: Settings) -> list[Finding]:
    """G1 and G2: main domain and host name are there before mail is switched on."""
    mail = settings.mail
    if not mail.enabled:
        return []
    found = []
    if not mail.main_domain:
        found.append(
            _bad(
                "mail.main_domain",
                "Mail cannot be switched on without a main mail domain.",
                "Enter the main mail domain; without own mailboxes, box.invalid will do.",
            )
        )
    if not mail.hostname:
        found.append(
            _bad(
                "mail.hostname",
                "Mail cannot be switched on without the mail server's host name.",
                "Enter the host name, such as mail.example.com.",
            )
        )
    return found


def _smarthost(settings: Settings) -> list[Finding]:
    outbound = settings.outbound
    if outbound.mode != "smarthost":
        return []
    found = []
    if not outbound.smarthost_host:
        found.append(
            _bad(
                "outbound.smarthost_host",
                "Outgoing mail is set to go through a smarthost, and none is named.",
                "Enter the smarthost, or send directly.",
            )
        )
    if outbound.smarthost_password and not outbound.smarthost_user:
        found.append(
            _bad(
                "outbound.smarthost_user",
                "There is a password for the smarthost and no user name.",
                "Enter the user name, or remove the password.",
            )
        )
    if outbound.smarthost_user and outbound.smarthost_tls == "none":
        found.append(
            _bad(
                "outbound.smarthost_tls",
                "The password for the smarthost would go over the line unencrypted.",
                "Choose required or implicit.",
            )
        )
    return found


def _queue_times(settings: Settings) -> list[Finding]:
    if not settings.queue.retry_seconds:
        return [
            _bad(
                "queue.retry_seconds",
                "There is no time after which delivery is tried again.",
                "Enter at least one, such as 300.",
            )
        ]
    return []


def _trusted_networks(settings: Settings) -> list[Finding]:
    """S5: a network that holds the whole Internet makes an open relay (G6)."""
    found = []
    for text in settings.relay.trusted_networks:
        trusted = ipaddress.ip_network(text)
        if trusted.prefixlen == 0:
            found.append(
                _bad(
                    "relay.trusted_networks",
                    f"{text} is the whole Internet: anybody could send through the box.",
                    "Name the networks of your own devices, such as 192.168.0.0/16.",
                )
            )
        elif not trusted.is_private and trusted.prefixlen < (
            _WIDE_IPV4_PREFIX if trusted.version == 4 else _WIDE_IPV6_PREFIX
        ):
            found.append(
                Finding(
                    check="settings.relay.trusted_networks",
                    result=Result.WARN,
                    say=f"{text} holds very many addresses of strangers.",
                    means="Each of them may send to anybody through the box.",
                    fix="Name a smaller network.",
                )
            )
    return found


def _aliases(settings: Settings) -> list[Finding]:
    """R1: one alias of a name, in a domain of ours. How far they lead is judged by the policy."""
    mail = settings.mail
    ours = {mail.main_domain, *mail.additional_domains}
    ours |= {relay.domain for relay in mail.relay_domains}
    found = []
    seen: set[str] = set()
    for alias in settings.rules.aliases:
        if alias.alias in seen:
            found.append(
                _bad(
                    "rules.aliases",
                    f"There are two aliases {alias.alias}.",
                    "Write all targets into one of them.",
                )
            )
        seen.add(alias.alias)
        domain = alias.alias.rpartition("@")[2] if "@" in alias.alias else ""
        if domain and domain not in ours:
            found.append(
                Finding(
                    check="settings.rules.aliases",
                    result=Result.WARN,
                    say=f"The alias {alias.alias} is in a domain that is not one of this box.",
                    means="No mail for it comes here.",
                    fix="Add the domain, or remove the alias.",
                )
            )
    return found


def _viruses(settings: Settings) -> list[Finding]:
    """The switch alone finds nothing: ClamAV is on another machine."""
    content = settings.content
    if not content.virus or content.clamav:
        return []
    return [
        Finding(
            check="settings.content.clamav",
            result=Result.WARN,
            say="Viruses are to be looked for, but no ClamAV is named.",
            means="Nobody looks for viruses.",
            fix="Give the address of a ClamAV, or switch the search off.",
        )
    ]
