"""nftables.conf: nothing comes in but what is switched on.

Before the box is claimed only the wizard's ports are open, and only to private and link-local
sources (the wizard checks that again). Others get a TCP reset, not silence: a browser that
tried a global IPv6 address first goes on to the next one at once.
"""

from ipaddress import ip_network

from appliance.render import dovecot
from appliance.render.facts import Facts
from appliance.settings.schema import Settings

FILE = "nftables.conf"
WEB_PORTS = "80, 443, 8443"
MAIL_PORTS = "25, 465, 587"


def mail_is_on(settings: Settings, facts: Facts) -> bool:
    """Whether the mail ports are to be open: switched on, and the box has an owner."""
    return settings.mail.enabled and facts.claimed


def ssh_is_on(settings: Settings, facts: Facts) -> bool:
    """SSH opens by an administrator's key alone, and never before the box has an owner."""
    return bool(settings.box.ssh_authorized_keys) and facts.claimed


def render(settings: Settings, facts: Facts) -> dict[str, bytes]:
    """The whole rule set. `flush ruleset` and the tables are one transaction for the kernel."""
    rules = "\n".join(f"        {rule}" for rule in _rules(settings, facts))
    return {FILE: _TEMPLATE.format(rules=rules).encode()}


def _rules(settings: Settings, facts: Facts) -> list[str]:
    rules = [f"tcp dport {{ {WEB_PORTS} }} accept"] if facts.claimed else list(_WIZARD_RULES)
    if mail_is_on(settings, facts):
        rules.append(f"tcp dport {{ {MAIL_PORTS} }} accept")
    if dovecot.is_on(settings, facts):
        rules += _mailbox_rules(settings)
    if ssh_is_on(settings, facts):
        rules.append("tcp dport 22 accept")
    return rules


def _mailbox_rules(settings: Settings) -> list[str]:
    """What is switched on; filters may be changed from trusted networks only."""
    ports = dovecot.open_ports(settings)
    mail = [str(port) for port in (ports.pop3, ports.imap, ports.imaps, ports.pop3s) if port]
    rules = [f"tcp dport {{ {', '.join(mail)} }} accept"] if mail else []
    for family, version in (("ip", 4), ("ip6", 6)):
        nets = [
            net for net in settings.relay.trusted_networks if ip_network(net).version == version
        ]
        if ports.sieve and nets:
            rules.append(f"{family} saddr {{ {', '.join(nets)} }} tcp dport {ports.sieve} accept")
    return rules


# fd00::/8 and its like; ULA, link-local, RFC 1918, RFC 3927.
_WIZARD_RULES = (
    "ip saddr { 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 169.254.0.0/16 } "
    f"tcp dport {{ {WEB_PORTS} }} accept",
    f"ip6 saddr {{ fc00::/7, fe80::/10 }} tcp dport {{ {WEB_PORTS} }} accept",
    f"tcp dport {{ {WEB_PORTS} }} reject with tcp reset",
)

_TEMPLATE = """\
# Made by Pennypost from its settings; do not edit.
flush ruleset

table inet pennypost {{
    chain input {{
        type filter hook input priority filter; policy drop;
        iif lo accept
        ct state established,related accept
        ct state invalid drop
        # IPv6 does not live without its control messages; pings are answered, in measure.
        meta l4proto ipv6-icmp icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert, \
nd-router-advert, nd-router-solicit, mld-listener-query }} accept
        meta l4proto {{ icmp, ipv6-icmp }} limit rate 50/second accept
        # Addresses by DHCP, and pennypost.local by mDNS.
        udp sport 67 udp dport 68 accept
        udp sport 547 udp dport 546 accept
        ip daddr 224.0.0.251 udp dport 5353 accept
        ip6 daddr ff02::fb udp dport 5353 accept
{rules}
    }}

    chain forward {{
        type filter hook forward priority filter; policy drop;
    }}
}}
"""
