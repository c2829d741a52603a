"""unbound.conf: the box's own resolver on 127.0.0.1.

Without forwarders it recurses and validates by itself, so that block lists answer. A board has
no clock, and with a wrong one no signature is in time: the names of the time servers are taken
without validation, else the clock could never be set.

With forwarders it asks those and believes them: the forwarder of an office serves private zones
that nobody signed, and the reverse zones of private networks.
"""

import ipaddress

from appliance.render.facts import Facts
from appliance.settings.schema import Settings

FILE = "unbound.conf"
# Debian's default time servers are *.debian.pool.ntp.org.
DEFAULT_TIME_ZONE_OF_NAMES = "ntp.org"


def render(settings: Settings, facts: Facts) -> dict[str, bytes]:
    """The whole configuration, for `unbound -c`."""
    forwarders = settings.box.dns_forwarders
    mode = _forwarding(forwarders) if forwarders else _recursing(settings.box.ntp_servers)
    return {FILE: (_SERVER + mode).encode()}


def _recursing(ntp_servers: tuple[str, ...]) -> str:
    names = [DEFAULT_TIME_ZONE_OF_NAMES, *(name for name in ntp_servers if not _is_address(name))]
    insecure = "".join(f'    domain-insecure: "{name}"\n' for name in dict.fromkeys(names))
    return _RECURSION + insecure


def _forwarding(forwarders: tuple[str, ...]) -> str:
    lines = "".join(f"    forward-addr: {forwarder}\n" for forwarder in forwarders)
    return _FORWARDING + lines


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


_SERVER = """\
# Made by Pennypost from its settings; do not edit.
server:
    interface: 127.0.0.1
    access-control: 127.0.0.0/8 allow
    username: "unbound"
    chroot: ""
    directory: ""
    pidfile: ""
    use-syslog: no
    logfile: ""
    log-time-ascii: no
    verbosity: 0
    do-daemonize: no
    num-threads: 1
    outgoing-range: 256
    num-queries-per-thread: 256
    msg-cache-size: 4m
    rrset-cache-size: 8m
    key-cache-size: 2m
    neg-cache-size: 1m
    infra-cache-numhosts: 2000
    cache-max-negative-ttl: 300
    hide-identity: yes
    hide-version: yes
    harden-referral-path: no
    edns-buffer-size: 1232
    prefetch: yes
"""

_RECURSION = """\
    module-config: "validator iterator"
    trust-anchor-file: "/usr/share/dns/root.key"
    root-hints: "/usr/share/dns/root.hints"
    qname-minimisation: yes
    aggressive-nsec: yes
    harden-dnssec-stripped: yes
"""

_FORWARDING = """\
    module-config: "iterator"
    do-not-query-localhost: no
    unblock-lan-zones: yes
    insecure-lan-zones: yes
    local-zone: "test." nodefault
forward-zone:
    name: "."
"""
