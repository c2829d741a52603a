"""The small files of the base system: names, time, console, SSH, the name on the local network.

`localtime` is a symbolic link (see `apply.LINKS`): its content is where the link points.
"""

from appliance.render.facts import Facts
from appliance.render.nftables import mail_is_on, ssh_is_on
from appliance.settings.schema import Settings

DEFAULT_HOST = "pennypost"
# Units look for these files by ConditionPathExists=: no setting is read at boot but by render.
RELAY_SWITCH = "relay.on"  # it also keeps the queue, so it runs with the mail service off
MAIL_SWITCH = "mail.on"
SSH_SWITCH = "ssh.on"


def render(settings: Settings, facts: Facts) -> dict[str, bytes]:
    """All of them, and the empty files that are switches for units."""
    files = {
        "hostname": f"{short_name(settings)}\n",
        "hosts": _hosts(settings),
        "localtime": f"/usr/share/zoneinfo/{settings.box.time_zone}",
        "resolv.conf": "nameserver 127.0.0.1\noptions edns0 trust-ad\n",
        "timesyncd.conf": _timesyncd(settings),
        "issue": _issue(settings, facts),
        "authorized_keys": "".join(f"{key}\n" for key in settings.box.ssh_authorized_keys),
        "sshd.conf": _sshd(facts),
        "avahi-daemon.conf": _AVAHI,
        "avahi-pennypost.service": _AVAHI_SERVICE,
    }
    if facts.claimed:
        files[RELAY_SWITCH] = ""
    if mail_is_on(settings, facts):
        files[MAIL_SWITCH] = ""
    if ssh_is_on(settings, facts):
        files[SSH_SWITCH] = ""
    return {name: text.encode() for name, text in files.items()}


def short_name(settings: Settings) -> str:
    """The kernel's host name: the first label of the mail server's name."""
    return settings.mail.hostname.partition(".")[0] or DEFAULT_HOST


def _hosts(settings: Settings) -> str:
    names = f"{settings.mail.hostname} {short_name(settings)}".strip()
    return f"127.0.0.1 localhost\n127.0.1.1 {names}\n::1 localhost ip6-localhost ip6-loopback\n"


def _timesyncd(settings: Settings) -> str:
    """Empty means Debian's compiled-in servers, which a bare [Time] section leaves alone."""
    servers = " ".join(settings.box.ntp_servers)
    return "[Time]\n" + (f"NTP={servers}\n" if servers else "")


def _issue(settings: Settings, facts: Facts) -> str:
    """What the console shows. agetty puts the addresses in (\\4, \\6) and keeps them fresh."""
    name = settings.mail.hostname or DEFAULT_HOST
    slot = f"slot {facts.slot}, " if facts.slot else ""
    lines = [f"\nPennypost {facts.version}".rstrip(), f"{name} ({slot}\\l)", ""]
    lines += ["Addresses: \\4  \\6", "In a browser: http://pennypost.local or http://\\4", ""]
    lines += _state(settings, facts)
    return "\n".join(lines) + "\n\n"


def _state(settings: Settings, facts: Facts) -> list[str]:
    if not facts.claimed:
        seed = facts.preseed
        lines = ["This box waits to be set up."]
        if seed.say:
            # agetty takes a backslash for one of its own signs.
            lines += [line.replace("\\", "\\\\") for line in (seed.say, seed.fix)]
        if seed.code:
            return [*lines, "The claim code is the one of your file pennypost.toml."]
        return [*lines, f"Claim code: {facts.claim_code or 'not made yet'}"]
    return ["Mail service: on" if mail_is_on(settings, facts) else "Mail service: off"]


def _sshd(facts: Facts) -> str:
    """A drop-in: keys only, and the keys and host keys where this box keeps them."""
    return (
        "PasswordAuthentication no\n"
        "KbdInteractiveAuthentication no\n"
        "PermitRootLogin prohibit-password\n"
        "AllowUsers root\n"
        f"AuthorizedKeysFile {facts.rendered}/authorized_keys\n"
        f"HostKey {facts.data}/keys/ssh/ssh_host_ed25519_key\n"
        "X11Forwarding no\n"
        "AllowTcpForwarding no\n"
    )


_AVAHI = """\
# Made by Pennypost from its settings; do not edit.
[server]
host-name=pennypost
use-ipv4=yes
use-ipv6=yes
enable-dbus=no
ratelimit-interval-usec=1000000
ratelimit-burst=1000

[publish]
publish-hinfo=no
publish-workstation=no
"""

_AVAHI_SERVICE = """\
<?xml version="1.0" standalone="no"?>
<!DOCTYPE service-group SYSTEM "avahi-service.dtd">
<service-group>
  <name replace-wildcards="yes">Pennypost on %h</name>
  <service><type>_http._tcp</type><port>80</port></service>
  <service><type>_https._tcp</type><port>443</port></service>
</service-group>
"""
