"""The relay as the box runs it: a process, rendered settings, a control socket, signals."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.base.control import call
from appliance.base.finding import Refused
from tests.support.relay_process import RelayProcess
from tests.support.smtp_client import SmtpClient
from tests.support.smtp_sink import SmtpSink
from tests.support.tls import self_signed
from tests.support.wait import wait_until

LETTER = b"From: a@client.example\r\nSubject: hello there\r\n\r\nbody\r\n"


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[RelayProcess]:
    relay = RelayProcess(tmp_path, {"queue.retry_seconds": [3600]})
    relay.start()
    yield relay
    relay.stop()


def send(relay: RelayProcess, sender: str = "a@client.example") -> str:
    with SmtpClient("127.0.0.1", relay.port) as client:
        answer = client.send_message(sender, ["b@example.org"], LETTER)
    assert answer.code == 250
    return answer.text.split()[-1]


def rendered(relay: RelayProcess, claimed: bool = True, **settings: object) -> None:
    path = relay.folder / "run" / "rendered" / "relay.json"
    raw = json.loads(path.read_text())
    raw["settings"].update({key.replace("__", "."): value for key, value in settings.items()})
    raw["facts"]["claimed"] = claimed
    path.write_text(json.dumps(raw))


def deferred(relay: RelayProcess, count: int) -> None:
    wait_until(
        lambda: call(relay.socket_path, "status")["queue"]["deferred"] == count,
        what=f"{count} deferred",
        timeout_seconds=30,
    )


def test_the_queue_is_shown_and_ordered_about_over_the_control_socket(
    relay: RelayProcess,
) -> None:
    path = relay.socket_path
    first, second = send(relay, "anna@client.example"), send(relay)
    deferred(relay, 2)
    status = call(path, "status")
    assert status["state"] == "running"
    assert status["accepting"] is True
    assert status["queue"]["messages"] == 2
    assert status["listeners"][0]["name"] == "smtp"

    page = call(path, "queue.list", {"search": "anna", "limit": 10, "offset": 0})
    assert [item["id"] for item in page["items"]] == [first]
    shown = call(path, "queue.show", {"id": first})
    assert "Subject: hello there" in shown["headers"]
    assert shown["headers"].startswith("Received: from client.example.org ([127.0.0.1])")
    assert [event["event"] for event in shown["events"]] == ["queued", "deferred"]

    assert call(path, "queue.hold", {"ids": [first]}) == {"count": 1}
    assert call(path, "queue.list", {"state": "held"})["total"] == 1
    assert call(path, "queue.release", {"search": "anna"}) == {"count": 1}
    assert call(path, "queue.send", {"all": True}) == {"count": 2}
    assert call(path, "queue.delete", {"ids": [second], "author": "kim"}) == {"count": 1}
    (gone,) = call(path, "trace", {"search": second})
    assert gone["fate"] == "deleted"
    said = [told["say"] for told in gone["story"]]
    assert "Deleted by kim. Its sender was not told." in said  # a try may have been under way
    with pytest.raises(Refused):
        call(path, "trace", {"since": "yesterday"})
    books = call(path, "ledger.reconcile")
    assert (books["ok"], books["messages"]) == (True, 2)
    assert call(path, "status")["ledger"] == books
    with pytest.raises(Refused) as refused:
        call(path, "queue.delete", {})
    assert "which messages" in refused.value.finding.say
    with pytest.raises(Refused):
        call(path, "queue.show", {"id": second})
    log = (relay.folder / "log" / "mail.log").read_text()
    assert f"id={second} event=deleted by=kim" in log


def test_new_settings_count_at_once_and_bad_ones_change_nothing(relay: RelayProcess) -> None:
    with SmtpSink() as sink:
        send(relay)
        deferred(relay, 1)
        rendered(relay, mail__relay_domains=[f"example.org | {sink.address}"])
        assert call(relay.socket_path, "reload")["accepting"] is True
        call(relay.socket_path, "queue.send", {"all": True})
        sink.wait_for_messages(1, timeout_seconds=30)
        path = relay.folder / "run" / "rendered" / "relay.json"
        path.write_text("{broken")
        with pytest.raises(Refused):
            call(relay.socket_path, "reload")
        send(relay)
        sink.wait_for_messages(2, timeout_seconds=30)


def test_an_unclaimed_box_takes_no_mail_and_says_why(relay: RelayProcess) -> None:
    rendered(relay, claimed=False)
    pid = int((relay.folder / "run" / "relay.pid").read_text())
    os.kill(pid, signal.SIGHUP)
    wait_until(
        lambda: not call(relay.socket_path, "status")["accepting"],
        what="the end of accepting",
        timeout_seconds=20,
    )
    assert "not been set up" in call(relay.socket_path, "status")["why"]
    with SmtpClient("127.0.0.1", relay.port) as client:
        assert (client.banner.code, client.banner.text[:5]) == (421, "4.3.2")


def test_tls_works_on_both_kinds_of_port_and_a_new_certificate_counts_at_once(
    tmp_path: Path,
) -> None:
    self_signed(tmp_path)
    settings = {"relay.trusted_networks": ["127.0.0.1/32"]}
    relay = RelayProcess(tmp_path, settings, certificate=tmp_path / "sink.example.com.pem")
    relay.start()

    def send_twice() -> None:
        with SmtpClient("127.0.0.1", relay.port) as client:
            client.hello()
            client.starttls()
            answer = client.send_message("a@client.example", ["b@example.org"], LETTER)
            assert answer.code == 250
        with SmtpClient("127.0.0.1", relay.submissions_port, tls=True) as client:
            answer = client.send_message("a@client.example", ["x@far.example"], LETTER)
            assert answer.code == 250

    send_twice()
    self_signed(tmp_path)
    call(relay.socket_path, "reload")
    send_twice()
    assert relay.stop() == 0


def test_settings_of_a_newer_version_are_passed_over(tmp_path: Path) -> None:
    relay = RelayProcess(tmp_path, {"mail.from_the_future": True})
    relay.start()
    send(relay)
    assert relay.stop() == 0


def test_sigterm_ends_it_cleanly_and_the_queue_is_there_again(tmp_path: Path) -> None:
    relay = RelayProcess(tmp_path, {"queue.retry_seconds": [3600]})
    relay.start()
    queue_id = send(relay)
    assert relay.stop() == 0
    relay.start()
    assert call(relay.socket_path, "queue.list")["items"][0]["id"] == queue_id
    assert relay.stop() == 0
