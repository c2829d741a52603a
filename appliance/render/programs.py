"""The programs that are configured: which files each reads, how it checks them, how it is told.

One table orders them. What has to be done for a change is worked out here as data (`Action`),
purely; `apply` has it done, and done backwards when something fails.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from appliance.render import daemons, dovecot, network, nftables, nginx, rspamd, system, unbound

SYSTEMCTL = "/usr/bin/systemctl"
NETWORKCTL = "/usr/bin/networkctl"
NFT = "/usr/sbin/nft"
NGINX = "/usr/sbin/nginx"
UNBOUND_CHECKCONF = "/usr/sbin/unbound-checkconf"
SYSTEMD_RUN = "/usr/bin/systemd-run"
RSPAMADM = "/usr/bin/rspamadm"
DOVECONF = "/usr/bin/doveconf"
AGETTY = "/usr/sbin/agetty"

Files = Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Command:
    """Run a program of the table above; `{rendered}` is the folder in force."""

    argv: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Tell:
    """Ask one of our own daemons over its control socket; if it is silent, do `otherwise`."""

    daemon: str
    verb: str
    otherwise: Command | None = None


@dataclass(frozen=True, slots=True)
class HostName:
    """Set the kernel's host name."""

    name: str


Action = Command | Tell | HostName


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A program as `apply` sees it.

    `check` is the argv by which it reads a new file without using it (`{folder}` is where that
    lies). `changed` is done when one of `files` changed. With `switch`, the file of that name
    says whether `units` are to run at all.
    """

    name: str
    files: tuple[str, ...]
    check: tuple[str, ...] = ()
    changed: tuple[Action, ...] = ()
    switch: str = ""
    units: tuple[str, ...] = ()

    def concerns(self, old: Files, new: Files) -> bool:
        """Whether this program has anything to do when `old` becomes `new`."""
        names = (*self.files, self.switch) if self.switch else self.files
        return any(old.get(name) != new.get(name) for name in names)

    def actions(self, old: Files, new: Files) -> tuple[Action, ...]:
        """What to do when `old` becomes `new`. With old and new swapped it is the way back."""
        if not self.concerns(old, new):
            return ()
        if self.name == "hostname":
            return (HostName(new[self.files[0]].decode().strip()),) if new else ()
        if self.switch and self.switch not in new:
            return (Command((SYSTEMCTL, "stop", *self.units)),)
        if self.switch and self.switch not in old:
            return (Command((SYSTEMCTL, "start", *self.units)),)
        return self.changed

    def can_check(self, new: Files) -> bool:
        """Whether there is a file to check: a program that is off may have none."""
        return bool(self.check) and any(name in new for name in self.files)

    def check_argv(self, folder: Path) -> tuple[str, ...]:
        return tuple(part.format(folder=folder) for part in self.check)


def _systemctl(*words: str) -> Command:
    return Command((SYSTEMCTL, *words))


RELAY_UNITS = ("pennypost-relay.socket", "pennypost-relay.service")
_RELAY_IN_A_CHECKOUT = Program(
    name="relay", files=(daemons.RELAY_FILE,), changed=(Tell("relay", "reload"),)
)
# The web looks at its file before each answer: it is the one who asks for the change.
_WEB = Program(name="web", files=(daemons.WEB_FILE,))

IN_A_CHECKOUT = (_RELAY_IN_A_CHECKOUT, _WEB)

# The order of reloads: names and doors first, then who stands in them.
ON_A_BOX = (
    Program(name="hostname", files=("hostname",)),
    Program(
        name="network",
        files=(network.FILE,),
        changed=(Command((NETWORKCTL, "reload")),),
    ),
    Program(
        name="nftables",
        files=(nftables.FILE,),
        check=(NFT, "-c", "-f", "{folder}/" + nftables.FILE),
        changed=(Command((NFT, "-f", "{rendered}/" + nftables.FILE)),),
    ),
    Program(
        name="unbound",
        files=(unbound.FILE,),
        check=(UNBOUND_CHECKCONF, "{folder}/" + unbound.FILE),
        changed=(_systemctl("restart", "unbound.service"),),
    ),
    Program(
        name="timesyncd",
        files=("timesyncd.conf",),
        changed=(_systemctl("try-restart", "systemd-timesyncd.service"),),
    ),
    Program(
        name="avahi",
        files=("avahi-daemon.conf", "avahi-pennypost.service"),
        changed=(_systemctl("try-restart", "avahi-daemon.service"),),
    ),
    Program(
        name="nginx",
        files=(nginx.FILE,),
        check=(NGINX, "-t", "-q", "-c", "{folder}/" + nginx.FILE),
        changed=(_systemctl("reload-or-restart", "nginx.service"),),
    ),
    Program(
        name="rspamd",
        files=(rspamd.FILE,),
        # LuaJIT makes code as it runs, which the steward's unit forbids: a unit of its own.
        check=(
            SYSTEMD_RUN,
            *("--quiet", "--wait", "--pipe", "--collect", "--property=User=_rspamd"),
            *(RSPAMADM, "configtest", "-c", "{folder}/" + rspamd.FILE),
        ),
        changed=(_systemctl("restart", "rspamd.service"),),
        switch=rspamd.SWITCH,
        units=("rspamd.service",),
    ),
    Program(
        name="dovecot",
        files=(dovecot.FILE, *dovecot.BESIDE),
        check=(DOVECONF, "-c", "{folder}/" + dovecot.FILE, "-n"),
        changed=(_systemctl("reload-or-restart", "dovecot.service"),),
        switch=dovecot.SWITCH,
        units=("dovecot.service",),
    ),
    Program(
        name="relay",
        files=(daemons.RELAY_FILE,),
        changed=(
            Tell("relay", "reload", otherwise=_systemctl("restart", "pennypost-relay.service")),
        ),
        switch=system.RELAY_SWITCH,
        units=RELAY_UNITS,
    ),
    _WEB,
    Program(
        name="ssh",
        files=("sshd.conf",),  # keys are read at each log-in
        changed=(_systemctl("try-restart", "ssh.service"),),
        switch=system.SSH_SWITCH,
        units=("ssh.service",),
    ),
    Program(name="console", files=("issue",), changed=(Command((AGETTY, "--reload")),)),
)


def table(*, dev: bool) -> tuple[Program, ...]:
    """The programs of a checkout, or those of a box."""
    return IN_A_CHECKOUT if dev else ON_A_BOX
