"""Servers that misbehave, by table: a message is delivered once, or comes back as one report.

Each scenario is played twice against one relay, all at the same time: by a server that never
mends, and by one that behaves from its third connection on. Nothing that they say gets out of
its place. The negative control is a relay that takes a lost answer for a good one.
"""

from __future__ import annotations

import email
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from appliance.relay.smtp_out import Connection
from appliance.relay.wire import ServerReply
from tests.support.relay_box import RelayBox
from tests.support.smtp_client import SmtpClient
from tests.support.smtp_sink import SmtpSink
from tests.support.wait import TimedOut, wait_until

Script = Callable[["Talk"], None]
GOOD_FROM = 3  # a server that mends behaves from this connection on
BODY = b"Subject: x\r\n\r\n" + b"a line of the message\r\n" * 50


class Talk:
    """The server's side of one connection."""

    def __init__(self, sock: socket.socket, server: Hostile) -> None:
        self.sock, self.server = sock, server
        self.lines = sock.makefile("rb")

    def say(self, *lines: str | bytes) -> None:
        for line in lines:
            self.sock.sendall((line.encode() if isinstance(line, str) else line) + b"\r\n")

    def hear(self) -> bytes:
        line = self.lines.readline()
        if not line:
            raise ConnectionError
        return line

    def until_data(self, ehlo: str = "250 mx", mail: str = "250 ok", rcpt: str = "250 ok") -> None:
        """Greet and take everything up to DATA."""
        self.say("220 mx")
        self.hear()
        self.say(ehlo)
        self.hear()
        self.say(mail)
        self.hear()
        self.say(rcpt)

    def swallow(self) -> None:
        """DATA and the message."""
        self.hear()
        self.say("354 go")
        while self.hear() != b".\r\n":
            pass

    def take(self) -> None:
        self.server.taken += 1
        self.say("250 taken")


class Hostile:
    """A server that plays a script for each connection."""

    def __init__(self, script: Script, *, mends: bool = False) -> None:
        self.script, self.mends = script, mends
        self.connections = self.taken = 0
        self.server = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.server.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                sock, _ = self.server.accept()
            except OSError:
                return
            self.connections += 1
            script = honest if self.mends and self.connections >= GOOD_FROM else self.script
            threading.Thread(target=self._play, args=(sock, script), daemon=True).start()

    def _play(self, sock: socket.socket, script: Script) -> None:
        sock.settimeout(20)
        talk = Talk(sock, self)
        try:
            script(talk)
        except OSError:
            pass
        finally:
            talk.lines.close()
            sock.close()


def honest(talk: Talk) -> None:
    talk.until_data()
    talk.swallow()
    talk.take()
    talk.hear()


def closes_at_once(talk: Talk) -> None:
    return


def says_nothing(talk: Talk) -> None:
    talk.hear()


def speaks_http(talk: Talk) -> None:
    talk.say("HTTP/1.1 400 Bad Request", "Connection: close", "")


def endless_banner(talk: Talk) -> None:
    for _ in range(100_000):
        talk.say("220-" + "x" * 70)


def endless_line(talk: Talk) -> None:
    for _ in range(2_000):
        talk.sock.sendall(b"220 " + b"x" * 8192)


def drips_the_banner(talk: Talk) -> None:
    for octet in b"220 " + b"m" * 200:
        talk.sock.sendall(bytes([octet]))
        time.sleep(0.2)


def half_a_line(talk: Talk) -> None:
    talk.say("220 mx")
    talk.hear()
    talk.sock.sendall(b"25")


def all_replies_at_once(talk: Talk) -> None:
    talk.say("220 mx", "250 mx", "250 ok", "250 ok", "354 go", "250 taken")
    while talk.hear():
        pass


def all_replies_after_ehlo(talk: Talk) -> None:
    talk.say("220 mx")
    talk.hear()
    talk.sock.sendall(b"250 mx\r\n250 ok\r\n250 ok\r\n354 go\r\n250 taken\r\n")
    while talk.hear():
        pass


def yes_before_the_message(talk: Talk) -> None:
    talk.until_data()
    talk.hear()
    talk.sock.sendall(b"354 go\r\n250 taken\r\n")
    while talk.hear():
        pass


def changing_codes(talk: Talk) -> None:
    talk.say("220 mx")
    talk.hear()
    talk.say("250-mx", "550 no")


def ten_thousand_lines(talk: Talk) -> None:
    talk.say("220 mx")
    talk.hear()
    talk.sock.sendall(b"250-X\r\n" * 10_000 + b"250 mx\r\n")
    talk.hear()


def binary_banner(talk: Talk) -> None:
    talk.say(b"\x16\x03\x01\x00\xff\x00\n\n")


def letters_for_a_code(talk: Talk) -> None:
    talk.say("220 mx")
    talk.hear()
    talk.say("2x0 mx")


def no_such_code(talk: Talk) -> None:
    talk.say("220 mx")
    talk.hear()
    talk.say("250 mx")
    talk.hear()
    talk.say("799 ok")


def a_354_for_everything(talk: Talk) -> None:
    talk.until_data(mail="354 go", rcpt="354 go")
    talk.hear()


def a_354_for_rcpt(talk: Talk) -> None:
    talk.until_data(rcpt="354 go")
    talk.hear()


def a_250_for_data(talk: Talk) -> None:
    talk.until_data()
    talk.hear()
    talk.say("250 data is fine")
    talk.hear()


def no_helo(talk: Talk) -> None:
    talk.say("220 mx")
    for _ in range(2):
        talk.hear()
        talk.say("550 go away")


def full_at_banner(talk: Talk) -> None:
    talk.say("421 4.7.0 too many connections")


def refuses_banner(talk: Talk) -> None:
    talk.say("554 5.7.1 no service")


def goes_down_at_mail(talk: Talk) -> None:
    talk.until_data(mail="421 4.3.2 going down")


def closes_after_ehlo(talk: Talk) -> None:
    talk.say("220 mx")
    talk.hear()


def closes_after_mail(talk: Talk) -> None:
    talk.say("220 mx")
    talk.hear()
    talk.say("250 mx")
    talk.hear()


def closes_after_rcpt(talk: Talk) -> None:
    talk.until_data()


def closes_in_data(talk: Talk) -> None:
    talk.until_data()
    talk.hear()
    talk.say("354 go")
    talk.hear()


def closes_after_dot(talk: Talk) -> None:
    talk.until_data()
    talk.swallow()


def closes_amid_pipelined_replies(talk: Talk) -> None:
    talk.say("220 mx")
    talk.hear()
    talk.say("250-mx", "250 PIPELINING")
    talk.hear()
    talk.say("250 ok", "250 ok")


def silent_in_the_end(talk: Talk) -> None:
    talk.until_data()
    talk.swallow()
    talk.hear()


def drips_in_the_end(talk: Talk) -> None:
    talk.until_data()
    talk.swallow()
    for octet in b"250-" + b"m" * 200:
        talk.sock.sendall(bytes([octet]))
        time.sleep(0.2)


def strange_354(talk: Talk) -> None:
    talk.until_data()
    talk.swallow()
    talk.say("354 again")


def putting_off_after_dot(talk: Talk) -> None:
    talk.until_data()
    talk.swallow()
    talk.say("452 4.3.1 full")


def starttls_that_is_none(talk: Talk) -> None:
    talk.say("220 mx")
    talk.hear()
    talk.say("250-mx", "250 STARTTLS")
    if talk.hear().startswith(b"STARTTLS"):
        talk.say("220 go on")
        talk.say("this is no TLS")


def lines_injected_after_starttls(talk: Talk) -> None:
    talk.say("220 mx")
    talk.hear()
    talk.say("250-mx", "250 STARTTLS")
    talk.hear()
    talk.sock.sendall(
        b"220 go on\r\n250 mx\r\n250 ok\r\n250 ok\r\n354 go\r\n250 taken\r\n221 bye\r\n"
    )
    talk.hear()


NEVER_A_CLEAR_NO = [
    closes_at_once, says_nothing, speaks_http, endless_banner, endless_line, drips_the_banner,
    half_a_line, all_replies_at_once, all_replies_after_ehlo, yes_before_the_message,
    changing_codes, ten_thousand_lines, binary_banner, letters_for_a_code, no_such_code,
    a_354_for_everything, a_354_for_rcpt, a_250_for_data, no_helo, full_at_banner, refuses_banner,
    goes_down_at_mail, closes_after_ehlo, closes_after_mail, closes_after_rcpt, closes_in_data,
    closes_after_dot, closes_amid_pipelined_replies, silent_in_the_end, drips_in_the_end,
    strange_354, putting_off_after_dot, starttls_that_is_none, lines_injected_after_starttls,
]  # fmt: skip


def refuses_mail(talk: Talk) -> None:
    talk.until_data(mail="550 5.7.1 not from you")


def refuses_rcpt(talk: Talk) -> None:
    talk.until_data(rcpt="550 5.1.1 nobody")


def refuses_data(talk: Talk) -> None:
    talk.until_data()
    talk.hear()
    talk.say("554 5.7.1 no data")


def refuses_after_dot(talk: Talk) -> None:
    talk.until_data()
    talk.swallow()
    talk.say("550-5.7.1 spam", "550 5.7.1 really")


def small_size(talk: Talk) -> None:
    talk.say("220 mx")
    talk.hear()
    talk.say("250-mx", "250 SIZE 10")
    talk.hear()


def forging_words(talk: Talk) -> None:
    talk.until_data(rcpt="550 5.1.1 no\r250 2.0.0 id=FAKE event=delivered \x1b[2J <script>")


def pipelining_and_refusing_all(talk: Talk) -> None:
    talk.say("220 mx")
    talk.hear()
    talk.say("250-mx", "250 PIPELINING")
    for _ in range(3):
        talk.hear()
    talk.say("250 ok", "550 5.1.1 nobody", "354 go anyway")
    assert talk.hear() == b".\r\n"
    talk.say("554 no valid recipients")


A_CLEAR_NO = [
    refuses_mail, refuses_rcpt, refuses_data, refuses_after_dot, small_size, forging_words,
    pipelining_and_refusing_all,
]  # fmt: skip


def bare_newlines(talk: Talk) -> None:
    talk.sock.sendall(b"220 mx\n")
    talk.hear()
    talk.sock.sendall(b"250 mx\n")
    talk.hear()
    talk.sock.sendall(b"250 ok\n")
    talk.hear()
    talk.sock.sendall(b"250 ok\n")
    talk.swallow()
    talk.take()


def absurd_extensions(talk: Talk) -> None:
    talk.until_data(ehlo="250-mx\r\n250-SIZE 99999999999999999999999999\r\n250-\r\n250 =\0;")
    talk.swallow()
    talk.take()


TAKES_IT_ODDLY = [bare_newlines, absurd_extensions]


class Stage:
    """A relay, hostile servers for each of some domains, and the senders' mail server."""

    def __init__(self, box: RelayBox, home: SmtpSink, servers: dict[str, Hostile]) -> None:
        self.box, self.home, self.servers = box, home, servers

    def send_to_all(self) -> None:
        with SmtpClient("127.0.0.1", self.box.port()) as client:
            for domain in self.servers:
                sender, to = f"{domain}@client.example", f"b@{domain}"
                assert client.send_message(sender, [to], BODY).code == 250

    def count(self, event: str) -> Counter[str]:
        """The mail log's events, by the domain of the recipient."""
        found = (re.search(r" to=<?b@([a-z0-9.-]+)>?", line) for line in self.box.events(event))
        return Counter(match[1] for match in found if match)

    def reports(self) -> Counter[str]:
        """Reports that reached their senders, by the domain of the recipient.

        On a busy machine the senders' server may take longer than the limit to say that it took
        one, which then comes again: that is the same report.
        """
        found = {
            (one.recipients[0].partition("@")[0], email.message_from_bytes(one.data)["Message-ID"])
            for one in list(self.home.messages)
        }
        return Counter(domain for domain, _ in found)

    def wait_for_all(self, *, timeout_seconds: float = 90) -> None:
        def ended() -> bool:
            delivered, reports = self.count("delivered"), self.reports()
            return all(delivered[domain] + reports[domain] >= 1 for domain in self.servers)

        wait_until(ended, what="all scenarios to end", timeout_seconds=timeout_seconds)

    def wrong(self) -> list[str]:
        """Scenarios that ended as none may: lost, doubled, or said to have arrived and not."""
        delivered, reports = self.count("delivered"), self.reports()
        found = []
        for domain, server in self.servers.items():
            ends = (delivered[domain], reports[domain])
            if ends not in ((1, 0), (0, 1)) or (ends[0] and not server.taken):
                found.append(f"{domain}: delivered {ends[0]}, reports {ends[1]}")
        return found


@contextmanager
def stage(folder: Path, scripts: dict[str, tuple[Script, bool]]) -> Iterator[Stage]:
    """`scripts`: by domain, the script and whether the server mends."""
    servers = {name: Hostile(script, mends=mends) for name, (script, mends) in scripts.items()}
    with ExitStack() as stack:
        home = stack.enter_context(SmtpSink())
        for server in servers.values():
            stack.callback(server.server.close)
        settings = {
            "mail.relay_domains": [f"{name} | {one.address}" for name, one in servers.items()],
            "outbound.route_overrides": [f"client.example|{home.address}"],
            "outbound.reply_timeout_seconds": 1,
            "outbound.connect_timeout_seconds": 2,
            "queue.retry_seconds": [1],
            "queue.give_up_seconds": 8,
            "queue.delay_notice_seconds": 0,
            "relay.connections_per_address": 200,
        }
        yield Stage(stack.enter_context(RelayBox(folder, settings)), home, servers)


def table() -> dict[str, tuple[Script, bool]]:
    """Domain by domain: every scenario for ever, and every temporary one until it mends."""
    found: dict[str, tuple[Script, bool]] = {}
    for script in [*NEVER_A_CLEAR_NO, *A_CLEAR_NO, *TAKES_IT_ODDLY]:
        found[f"{script.__name__.replace('_', '-')}.example"] = (script, False)
    for script in NEVER_A_CLEAR_NO:
        found[f"{script.__name__.replace('_', '-')}.mends.example"] = (script, True)
    return found


def check_report(data: bytes) -> None:
    """RFC 3464: three parts, the fields, one recipient; nothing that was said breaks out."""
    message = email.message_from_bytes(data)
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    human, status, returned = message.get_payload()
    assert human.get_content_type() == "text/plain"
    assert status.get_content_type() == "message/delivery-status"
    assert returned.get_content_type() in ("text/rfc822-headers", "message/rfc822")
    about, recipient = status.get_payload()
    assert about["Reporting-MTA"] == "dns; box.example.com"
    assert recipient["Final-Recipient"].startswith("rfc822; b@")
    assert recipient["Action"] == "failed"
    assert re.fullmatch(r"5\.\d+\.\d+", recipient["Status"])
    assert set(recipient) <= {
        "Original-Recipient", "Final-Recipient", "Action", "Status", "Remote-MTA",
        "Diagnostic-Code",
    }  # fmt: skip
    assert b"\x1b" not in data
    assert b"\0" not in data


@pytest.mark.full
def test_every_scenario_ends_in_one_delivery_or_one_report(tmp_path: Path) -> None:
    scripts = table()
    assert len(NEVER_A_CLEAR_NO) + len(A_CLEAR_NO) + len(TAKES_IT_ODDLY) >= 28
    with stage(tmp_path, scripts) as play:
        play.send_to_all()
        play.wait_for_all()
        wait_until(lambda: not play.box.worker._roster.in_hand, what="rest", timeout_seconds=30)
        assert play.wrong() == []
        reports = play.reports()
        for domain, (script, mends) in scripts.items():
            comes_back = not mends and script not in TAKES_IT_ODDLY
            assert reports[domain] == comes_back, domain
        for one in play.home.messages:
            assert one.mail_from == ""
            check_report(one.data)
        assert all(line.isprintable() for line in play.box.log)
        # And the relay is well: mail between honest people passes.
        with SmtpSink() as friend:
            routes = [
                f"client.example|{play.home.address}", f"friend.example|{friend.address}"
            ]  # fmt: skip
            relays = [f"friend.example | {friend.address}"]
            play.box.take({"outbound.route_overrides": routes, "mail.relay_domains": relays})
            with SmtpClient("127.0.0.1", play.box.port()) as client:
                answer = client.send_message("a@client.example", ["b@friend.example"], BODY)
                assert answer.code == 250
            friend.wait_for_messages(1, timeout_seconds=30)


@pytest.mark.full
def test_the_table_finds_a_relay_that_believes_what_it_did_not_hear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control."""
    real = Connection._read_final

    async def hopeful(self: Connection) -> ServerReply:
        try:
            return await real(self)
        except Exception:
            return ServerReply(250, "it will have arrived")

    monkeypatch.setattr(Connection, "_read_final", hopeful)
    scripts = {"a.example": (closes_after_dot, False), "b.example": (honest, False)}
    with stage(tmp_path, scripts) as play:
        play.send_to_all()
        play.wait_for_all(timeout_seconds=30)
        assert play.wrong() == ["a.example: delivered 1, reports 0"]


@pytest.mark.full
def test_the_table_finds_a_relay_that_loses_what_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other negative control: no report is ever written."""
    monkeypatch.setattr("appliance.spool.bounce.wanted", lambda kind, message, fates: ())
    with stage(tmp_path, {"a.example": (refuses_rcpt, False)}) as play:
        play.send_to_all()
        wait_until(lambda: play.count("bounced"), what="the refusal", timeout_seconds=30)
        with pytest.raises(TimedOut):
            play.wait_for_all(timeout_seconds=1)
        assert play.wrong() == ["a.example: delivered 0, reports 0"]


def test_what_comes_with_the_220_of_starttls_is_not_believed(tmp_path: Path) -> None:
    """The reply to EHLO inside TLS must not be one that was sent in the clear."""
    seen: list[bytes] = []

    def injecting(talk: Talk) -> None:
        talk.say("220 mx")
        talk.hear()
        talk.say("250-mx", "250 STARTTLS")
        seen.append(talk.hear())
        talk.sock.sendall(b"220 go on\r\n250-evil\r\n250 AUTH PLAIN\r\n")
        seen.append(talk.sock.recv(1))

    with stage(tmp_path, {"a.example": (injecting, False)}) as play:
        play.send_to_all()
        wait_until(lambda: play.box.events("deferred"), what="a deferral", timeout_seconds=30)
    assert seen[0] == b"STARTTLS\r\n"
    assert seen[1] == b"\x16"  # a TLS record, and nothing in the clear


def test_a_kept_connection_that_went_stale_is_opened_anew(tmp_path: Path) -> None:
    def one_message_each(talk: Talk) -> None:
        talk.until_data()
        talk.swallow()
        talk.take()

    with stage(tmp_path, {"a.example": (one_message_each, False)}) as play:
        play.box.take({"outbound.connections_per_destination": 1})
        for _ in range(3):
            play.send_to_all()
        wait_until(lambda: len(play.box.events("delivered")) == 3, what="all", timeout_seconds=30)
        assert not play.box.events("deferred")
        assert play.servers["a.example"].taken == 3
