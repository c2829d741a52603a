"""What `render` knows beside the settings: where things lie, and what kind of box this is.

`Facts` is plain data. `gather` reads it from the machine; nothing else in `render` looks around.
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from appliance.certs.dkim_keys import KeyFile
from appliance.certs.keystore import HostPair
from appliance.render.claim import ClaimFiles, Preseeded

LOCAL_NAME = "pennypost.local"
ALWAYS_NAMES = (LOCAL_NAME, "localhost")
ALWAYS_ADDRESSES = ("127.0.0.1", "::1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Where each service listens; on a box the well-known ports."""

    smtp: int = 25
    submissions: int = 465
    submission: int = 587
    web: int = 443


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The box as it is just now. `dev` is a checkout on somebody's machine, without root."""

    data: Path
    run: Path
    dev: bool
    claimed: bool
    tls_key: Path
    tls_certificate: Path
    local_key: Path
    local_certificate: Path
    root_certificate: Path
    dkim_keys: tuple[KeyFile, ...] = ()  # those that sign and those that will; none: sign nothing
    claim_code: str = field(default="", repr=False)
    preseed: Preseeded = field(default_factory=Preseeded)
    addresses: tuple[str, ...] = ()
    resolver: str = ""  # address:port for our own look-ups; empty: /etc/resolv.conf
    ports: Ports = field(default_factory=Ports)
    slot: str = ""
    version: str = ""
    memory_bytes: int = 0
    mail_root: Path = Path("/srv/mail")  # where the mailbox disk is mounted

    @property
    def rendered(self) -> Path:
        """The link to the current set; programs are told to read their files there."""
        return self.run / "rendered"

    def to_json(self) -> dict[str, object]:
        """What the relay and the web may know: no claim code."""
        return {
            "dev": self.dev,
            "claimed": self.claimed,
            "preseed": {
                "code": self.preseed.code,
                "say": self.preseed.say,
                "fix": self.preseed.fix,
            },
            "addresses": list(self.addresses),
            "resolver": self.resolver,
            "tls_key": str(self.tls_key),
            "tls_certificate": str(self.tls_certificate),
            "root_certificate": str(self.root_certificate),
            "dkim_keys": [key.to_json() for key in self.dkim_keys],
            "ports": {
                "smtp": self.ports.smtp,
                "submissions": self.ports.submissions,
                "submission": self.ports.submission,
                "web": self.ports.web,
            },
            "slot": self.slot,
            "version": self.version,
            "memory_bytes": self.memory_bytes,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What does not change while the box is up; `gather` adds the rest."""

    data: Path
    run: Path
    dev: bool = False
    resolver: str = ""
    ports: Ports = field(default_factory=Ports)
    slot: str = ""
    version: str = ""
    mail_root: Path = Path("/srv/mail")

    @property
    def claim_folder(self) -> Path:
        return self.data / "claim"

    @property
    def keys(self) -> Path:
        return self.data / "keys"

    @property
    def claim_press(self) -> Path:
        return self.run / "claim-press"

    @property
    def settings_database(self) -> Path:
        return self.data / "settings" / "settings.db"


BOX = Place(
    data=Path("/data/pennypost"), run=Path("/run/pennypost"), resolver="127.0.0.1:53"
)  # the resolver is the box's own unbound


def gather(
    place: Place,
    host: HostPair,
    local: HostPair,
    root_certificate: Path,
    *,
    claimed: bool,
    dkim_keys: tuple[KeyFile, ...] = (),
) -> Facts:
    """The facts of the box at `place` with its certificates for mail and for the local network."""
    claim = ClaimFiles(place.claim_folder)
    return Facts(
        data=place.data,
        run=place.run,
        dev=place.dev,
        claimed=claimed,
        claim_code="" if claimed else claim.code(),
        preseed=Preseeded() if claimed else claim.preseeded(),
        tls_key=host.key,
        tls_certificate=host.certificate,
        local_key=local.key,
        local_certificate=local.certificate,
        root_certificate=root_certificate,
        dkim_keys=dkim_keys,
        addresses=own_addresses(),
        resolver=place.resolver,
        ports=place.ports,
        slot=place.slot,
        version=place.version,
        mail_root=place.mail_root,
        memory_bytes=memory_of(_text(Path("/proc/meminfo"))),
    )


def box_place() -> Place:
    """The place of the appliance we run on: slot and version from the image."""
    return Place(
        data=BOX.data,
        run=BOX.run,
        resolver=BOX.resolver,
        slot=slot_of(_text(Path("/proc/cmdline"))),
        version=version_of(_text(Path("/usr/lib/os-release"))),
    )


def slot_of(command_line: str) -> str:
    """`a` or `b` from the kernel's command line; empty when it does not say."""
    match = re.search(r"(?:^|\s)pennypost\.slot=([ab])(?:\s|$)", command_line)
    return match[1] if match else ""


def version_of(os_release: str) -> str:
    """IMAGE_VERSION of an os-release file; empty when it has none."""
    match = re.search(r'^IMAGE_VERSION="?([^"\n]*)"?$', os_release, re.MULTILINE)
    return match[1] if match else ""


def memory_of(meminfo: str) -> int:
    """The machine's memory, octets, from /proc/meminfo; 0 when it does not say."""
    match = re.search(r"^MemTotal:\s*(\d+) kB", meminfo, re.MULTILINE)
    return int(match[1]) * 1024 if match else 0


def own_addresses() -> tuple[str, ...]:
    """The addresses of this machine, loopback left out, sorted.

    From /proc, so that no program is started and no name is asked.
    """
    v4 = addresses_of_fib_trie(_text(Path("/proc/net/fib_trie")))
    v6 = addresses_of_if_inet6(_text(Path("/proc/net/if_inet6")))
    return tuple(sorted({*v4, *v6}))


def addresses_for_certificate(addresses: Iterable[str]) -> tuple[str, ...]:
    """Those that stay: many lines change the prefix of global IPv6 addresses every day."""
    parsed = [ipaddress.ip_address(text) for text in addresses]
    lasting = [str(ip) for ip in parsed if ip.version == 4 or ip.is_private]
    return (*ALWAYS_ADDRESSES, *lasting)


def addresses_of_fib_trie(text: str) -> Iterable[str]:
    """IPv4 addresses: the kernel marks each as `/32 host LOCAL` under the line that names it."""
    for match in re.finditer(r"\|-- ([0-9.]+)\n\s+/32 host LOCAL", text):
        address = ipaddress.IPv4Address(match[1])
        if not address.is_loopback:
            yield str(address)


def addresses_of_if_inet6(text: str) -> Iterable[str]:
    """IPv6 addresses without link-local ones, which differ in meaning per interface."""
    for line in text.splitlines():
        address = ipaddress.IPv6Address(int(line.split()[0], 16))
        if not (address.is_loopback or address.is_link_local):
            yield str(address)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
