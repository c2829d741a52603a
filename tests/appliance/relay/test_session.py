"""What a dialogue file cannot show: time, caps, faults inside, and the end of the service."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.policy import chain
from appliance.relay.session import Session
from tests.support.relay_box import RelayBox
from tests.support.smtp_client import Closed, SmtpClient
from tests.support.wait import wait_until

TO_DATA = ("MAIL FROM:<a@client.example>", "RCPT TO:<b@example.org>")


def opened(box: RelayBox, *lines: str) -> SmtpClient:
    client = SmtpClient("127.0.0.1", box.port())
    client.hello()
    for line in lines:
        assert client.command(line).code in (250, 354), line
    return client


# Settings shorter than their own limits allow are put in place directly: tests are in a hurry.


def test_an_idle_client_is_told_that_its_time_is_up(tmp_path: Path) -> None:
    with RelayBox(tmp_path, deliver=False) as box:
        relay = replace(box.settings.relay, command_timeout_seconds=1)
        box.shop.settings = replace(box.settings, relay=relay)
        client = opened(box)
        answer = client.read_answer()
        assert (answer.code, answer.text[:5]) == (421, "4.4.2")
        with pytest.raises(Closed):
            client.read_answer()


def test_a_dripping_client_is_cut_off_however_busy_it_looks(tmp_path: Path) -> None:
    with RelayBox(tmp_path, deliver=False) as box:
        relay = replace(box.settings.relay, transaction_timeout_seconds=1)
        box.shop.settings = replace(box.settings, relay=relay)
        client = opened(box, *TO_DATA)
        assert client.command("DATA").code == 354
        client.socket.settimeout(0.05)
        got = b""

        def dripped() -> bool:
            nonlocal got
            try:
                client.socket.sendall(b"x\r\n")
                got += client.socket.recv(100)
            except TimeoutError:
                return False
            except OSError:
                return True
            return b"421" in got

        wait_until(dripped, what="the end of patience", timeout_seconds=10)
        assert got.startswith(b"421 4.4.2 ")


def test_one_address_may_open_only_so_many_connections(tmp_path: Path) -> None:
    with RelayBox(tmp_path, {"relay.connections_per_address": 2}, deliver=False) as box:
        first, second = opened(box), opened(box)
        with socket.create_connection(("127.0.0.1", box.port()), 10) as third:
            assert third.recv(100).startswith(b"421 4.7.0 ")
        first.close()
        wait_until(lambda: len(box.shop.gate.sessions) == 1, what="room", timeout_seconds=10)
        opened(box).close()
        second.close()


def test_a_fault_inside_is_451_with_an_id_and_the_session_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise KeyError("/secret/path")

    with RelayBox(tmp_path, deliver=False) as box:
        client = opened(box)
        with monkeypatch.context() as patch:
            patch.setattr(chain.Chain, "run", broken)
            answer = client.command("MAIL FROM:<a@client.example>")
        assert answer.code == 451
        assert "KeyError" not in answer.text
        assert "secret" not in answer.text
        assert client.command("MAIL FROM:<a@client.example>").code == 250


def test_a_disk_that_fails_gives_451_and_no_250(tmp_path: Path) -> None:
    with RelayBox(tmp_path, deliver=False) as box:
        client = opened(box, *TO_DATA)

        def fail() -> None:
            raise OSError(5, "Input/output error")

        disk = box.shop.spool._disk
        disk.before_commit = fail  # type: ignore[method-assign]
        assert client.data(b"Subject: x\r\n\r\nx\r\n").code == 451
        assert client.command(TO_DATA[0]).code == 451
        del disk.before_commit  # type: ignore[method-assign]
        wait_until(lambda: not box.shop.spool.trouble, what="a new start", timeout_seconds=10)
        assert client.send_message("a@x.example", ["b@example.org"], b"x\r\n").code == 250


def test_memory_stays_flat_while_a_large_message_arrives(tmp_path: Path) -> None:
    with RelayBox(tmp_path, deliver=False) as box:
        client = opened(box, *TO_DATA, "DATA")
        block = (b"x" * 998 + b"\r\n") * 100
        client.socket.sendall(b"Subject: large\r\n\r\n")
        for _ in range(100):
            client.socket.sendall(block)
        part = box.folder / "spool" / "bodies"
        wait_until(
            lambda: sum(p.stat().st_size for p in part.iterdir()) > 8_000_000,
            what="the file to grow while DATA arrives",
            timeout_seconds=20,
        )
        client.close()
        wait_until(lambda: not list(part.iterdir()), what="tidying up", timeout_seconds=20)


def test_a_half_closed_client_still_gets_its_answers(tmp_path: Path) -> None:
    with RelayBox(tmp_path, deliver=False) as box:
        client = opened(box, *TO_DATA, "DATA")
        client.socket.sendall(b"Subject: x\r\n\r\nx\r\n.\r\nQUIT\r\n")
        client.socket.shutdown(socket.SHUT_WR)
        assert client.read_answer().code == 250
        assert client.read_answer().code == 221


def test_at_the_end_of_the_service_a_transaction_under_way_is_finished(tmp_path: Path) -> None:
    async def dismiss(box: RelayBox) -> None:
        for guest in list(box.shop.gate.sessions):
            assert isinstance(guest, Session)
            guest.dismiss()

    with RelayBox(tmp_path, deliver=False) as box:
        idle, busy = opened(box), opened(box, *TO_DATA)
        box.run(dismiss(box))
        assert idle.read_answer().text.startswith("4.3.2")
        assert busy.data(b"Subject: x\r\n\r\nx\r\n").code == 250
        assert busy.read_answer().code == 421


def test_settings_change_for_sessions_that_are_open(tmp_path: Path) -> None:
    with RelayBox(tmp_path, deliver=False) as box:
        client = opened(box, TO_DATA[0])
        assert client.command("RCPT TO:<x@new.example>").code == 550
        box.take({"mail.relay_domains": ["new.example | 127.0.0.1:1"]})
        assert client.command("RCPT TO:<x@new.example>").code == 250
