"""The tests' own mail server and client, against each other and against smtp-source."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.smtp_client import SmtpClient
from tests.support.smtp_sink import Plan, SmtpSink
from tests.support.tls import self_signed

MESSAGE = b"Subject: t\xc3\xa4st\r\n\r\n.dot\r\n..dots\r\nlast\r\n"


@pytest.fixture
def sink() -> Iterator[SmtpSink]:
    with SmtpSink() as running:
        yield running


def send(sink: SmtpSink, message: bytes = MESSAGE) -> int:
    with SmtpClient("127.0.0.1", sink.port) as client:
        return client.send_message("a@example.org", ["b@example.com"], message).code


def test_a_message_arrives_byte_for_byte(sink: SmtpSink) -> None:
    assert send(sink) == 250
    (message,) = sink.wait_for_messages(1)
    assert message.data == MESSAGE
    assert message.mail_from == "a@example.org"
    assert message.recipients == ("b@example.com",)


def test_a_sink_that_is_down_refuses_connections_and_comes_back_on_its_port(
    sink: SmtpSink,
) -> None:
    port = sink.port
    sink.go_down()
    with pytest.raises(ConnectionRefusedError):
        SmtpClient("127.0.0.1", port)
    sink.come_up()
    assert sink.port == port
    assert send(sink) == 250


@pytest.mark.parametrize(
    "plan",
    [
        Plan(mail="451 4.3.0 no"),
        Plan(recipient="451 4.2.0 no"),
        Plan(recipients={"b@example.com": "451 4.2.1 no"}),
        Plan(data="451 4.3.0 no"),
        Plan(end_of_data="451 4.3.0 no"),
    ],
)
def test_it_refuses_where_it_is_told_to_and_keeps_nothing(sink: SmtpSink, plan: Plan) -> None:
    sink.plan = plan
    assert send(sink) == 451
    assert sink.messages == []


def test_it_speaks_tls_when_it_has_a_certificate(tmp_path: Path) -> None:
    with (
        SmtpSink(tls=self_signed(tmp_path)) as sink,
        SmtpClient("127.0.0.1", sink.port) as client,
    ):
        assert "STARTTLS" in client.hello().lines
        client.starttls()
        client.envelope("a@example.org", ["b@example.com"])
        assert client.data(MESSAGE).code == 250
        assert sink.messages[0].tls


def test_a_dropped_250_leaves_the_message_here_and_the_client_in_doubt(sink: SmtpSink) -> None:
    sink.plan = Plan(drop_at_end_of_data=True)
    with pytest.raises(ConnectionError):
        send(sink)
    assert len(sink.messages) == 1


@pytest.mark.full
def test_smtp_source_gets_all_its_messages_through(sink: SmtpSink) -> None:
    smtp_source = shutil.which("smtp-source", path="/usr/sbin:/usr/bin")
    assert smtp_source, "run scripts/setup-host test"
    argv = [smtp_source, "-s", "4", "-m", "40", "-l", "2000", "-t", "b@example.com"]
    subprocess.run([*argv, f"127.0.0.1:{sink.port}"], check=True, timeout=60)
    assert len(sink.messages) == 40
