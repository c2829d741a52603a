"""Into the mailboxes: accepted, handed to the box's Dovecot by LMTP, there to be read.

Postfix hands to the same Dovecot, by a port instead of a socket in the file system, which is
in another tree. Then what Dovecot takes of memory with people's programs connected.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from appliance.accounts.users import Users
from appliance.base.clock import SystemClock
from tests.bench.postfix import Postfix
from tests.bench.servers import Ours, pss_mib
from tests.bench.through import Log, Report, measure
from tests.support.dovecot_tree import DovecotTree
from tests.support.mail_readers import imap, person
from tests.support.ports import free_port
from tests.support.tls import self_signed

SESSIONS = (1, 10, 50)
CONNECTED = (0, 10, 50)
LOGIN = "b"
DOMAIN = {"mail.main_domain": "example.test"}
_BY_A_PORT = "service lmtp {{\n  inet_listener lmtp {{\n    port = {port}\n  }}\n}}\n"


def run(folder: Path, tree: Path, rounds: int, report: Report) -> bool:
    """Measure and print; there is no goal to miss."""
    self_signed(folder, "box.example.com")
    certificate = folder / "box.example.com.pem"
    port, somebody = free_port(), person(LOGIN)
    with DovecotTree(
        [somebody],
        (certificate, certificate),
        DOMAIN,
        edit=lambda text: text + _BY_A_PORT.format(port=port),
    ) as dovecot:
        ours = Ours(
            folder,
            settings={
                **DOMAIN,
                "mail.relay_domains": [],
                "mailboxes.enabled": True,
                "delivery.lmtp": dovecot.socket,
            },
        )
        known = ours.folder / "accounts"
        known.mkdir(parents=True, exist_ok=True)
        users = Users(known / "accounts.db", SystemClock())
        users.add(LOGIN, name="", password_hash=somebody.password_hash)
        with ours, Postfix(tree, free_port(), transport=f"lmtp:inet:127.0.0.1:{port}") as theirs:
            logs = {
                "theirs": Log(theirs.log, b"status=sent"),
                "ours": Log(ours.log, b"event=delivered"),
            }
            for sessions in SESSIONS:
                rates: dict[str, list[float]] = {name: [] for name in logs}
                for _ in range(rounds):
                    rates["theirs"].append(measure(theirs.port, logs["theirs"], sessions))
                    rates["ours"].append(measure(ours.port, logs["ours"], sessions))
                report(f" 2 KB x{sessions:<2} into a mailbox", rates, None)
        with ExitStack() as stack:
            for most, more in zip(CONNECTED, _steps(CONNECTED), strict=True):
                for _ in range(more):
                    client = imap(dovecot, LOGIN)
                    stack.callback(client.shutdown)
                    client.select("INBOX")
                taken = sum(map(pss_mib, _family(dovecot.pid)))
                print(f"memory, Dovecot, {most:>2} IMAP sessions {taken:6.1f} MiB", flush=True)
    return True


def _steps(levels: tuple[int, ...]) -> Iterator[int]:
    return (after - before for before, after in zip((0, *levels), levels, strict=False))


def _family(pid: int) -> set[int]:
    """A process and all that stem from it."""
    parents = {
        int(path.name): int((path / "stat").read_text().rpartition(")")[2].split()[1])
        for path in Path("/proc").iterdir()
        if path.name.isdecimal()
    }
    found, more = {pid}, {pid}
    while more:
        more = {child for child, parent in parents.items() if parent in more} - found
        found |= more
    return found
