"""`scripts/dev` as third parties use it: real steward, relay and web on loopback."""

import contextlib
import json
import os
import signal
import smtplib
import ssl
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.checkout import ENVIRONMENT, CommandLine
from tests.support.ports import free_ports
from tests.support.smtp_sink import SmtpSink
from tests.support.wait import wait_until

MESSAGE = b"From: a@else.example\r\nSubject: hello\r\n\r\nFirst light.\r\n"
NAMES = ("dev", "relay", "steward", "web")


class Checkout:
    """One DIR with its four ports, started as often as one likes."""

    def __init__(self, folder: Path, sink_port: int) -> None:
        self.data = folder / "data"
        self.smtp, self.submission, self.submissions, self.web = free_ports(4)
        self.pennypost = CommandLine(self.data)
        self.settings = folder / "settings.json"
        self.settings.write_text(
            json.dumps(
                {
                    "mail.enabled": True,
                    "mail.main_domain": "box.invalid",
                    "mail.hostname": "mail.example.com",
                    "mail.relay_domains": [f"example.com | 127.0.0.1:{sink_port}"],
                    "queue.retry_seconds": [1],
                    "filter.check_sender_domain": False,  # no DNS but the host's
                }
            )
        )
        self.process: subprocess.Popen[str] | None = None

    def start(self, *words: str) -> None:
        """Start and wait for the line `ready`."""
        argv = [sys.executable, "-P", "-m", "appliance.dev", "--data", str(self.data)]
        argv += ["--smtp", str(self.smtp), "--submission", str(self.submission)]
        argv += ["--submissions", str(self.submissions), "--web", str(self.web), *words]
        self.process = subprocess.Popen(
            argv, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True, cwd="/"
        )
        assert self.process.stdout is not None
        lines: list[str] = []
        reader = threading.Thread(target=lambda: self._read_until_ready(lines), daemon=True)
        reader.start()
        reader.join(120)
        assert "ready" in lines

    def _read_until_ready(self, lines: list[str]) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        for line in self.process.stdout:
            lines.append(line.rstrip("\n"))
            if lines[-1] == "ready":
                return

    def pid(self, name: str) -> int:
        return int((self.data / "run" / f"{name}.pid").read_text())

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def kill(self, names: tuple[str, ...] = NAMES) -> None:
        """SIGKILL to the processes that the pid files name."""
        assert self.process is not None
        for pid in [self.pid(name) for name in names]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if "dev" in names:
            self.process.wait(30)

    def send(self, recipient: str) -> None:
        with smtplib.SMTP("127.0.0.1", self.smtp, timeout=30) as client:
            client.sendmail("a@else.example", [recipient], MESSAGE)

    def page_status(self) -> int:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.web}/", timeout=30) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code


@pytest.fixture
def sink() -> Iterator[SmtpSink]:
    with SmtpSink() as running:
        yield running


@pytest.fixture
def checkout(tmp_path: Path, sink: SmtpSink) -> Iterator[Checkout]:
    checkout = Checkout(tmp_path, sink.port)
    yield checkout
    if checkout.process is not None and checkout.process.poll() is None:
        checkout.stop()


def test_settings_at_the_start_are_enough_for_a_working_relay(
    checkout: Checkout, sink: SmtpSink
) -> None:
    checkout.start("--settings", str(checkout.settings))
    assert checkout.page_status() < 500
    checkout.send("b@example.com")
    (delivered,) = sink.wait_for_messages(1)
    assert delivered.data.endswith(MESSAGE)
    with pytest.raises(smtplib.SMTPRecipientsRefused) as caught:
        checkout.send("b@stranger.example")
    assert caught.value.recipients["b@stranger.example"][0] == 550
    assert all(checkout.pid(name) for name in NAMES)
    assert checkout.stop() == 0
    assert list((checkout.data / "run").glob("*.pid")) == []


@pytest.mark.full
def test_submissions_are_encrypted_with_the_box_s_own_certificate(checkout: Checkout) -> None:
    checkout.start("--settings", str(checkout.settings))
    context = ssl.create_default_context(cafile=str(checkout.data / "keys/public/ca.crt"))
    port = checkout.submissions
    with smtplib.SMTP_SSL("localhost", port, context=context, timeout=30) as client:
        assert client.ehlo()[0] == 250
    with smtplib.SMTP("localhost", checkout.smtp, timeout=30) as client:
        client.starttls(context=context)
        assert client.ehlo()[0] == 250


@pytest.mark.full
def test_an_import_is_in_force_at_once_and_comes_back_after_a_stop(
    checkout: Checkout, sink: SmtpSink
) -> None:
    checkout.start()
    done = checkout.pennypost("settings", "import", str(checkout.settings), "--json")
    assert done.status == 0, done.out
    checkout.send("b@example.com")
    sink.wait_for_messages(1)
    assert checkout.pennypost("settings", "set", "mail.max_message_bytes=65536").status == 0
    with smtplib.SMTP("127.0.0.1", checkout.smtp, timeout=30) as client:
        client.ehlo()
        assert client.esmtp_features["size"] == "65536"
    assert checkout.stop() == 0
    checkout.start()
    shown = checkout.pennypost("settings", "get", "mail.max_message_bytes")
    assert shown.out == "65536\n"
    checkout.send("c@example.com")
    sink.wait_for_messages(2)


@pytest.mark.full
def test_a_start_after_kill_9_goes_on_where_it_stopped(checkout: Checkout, sink: SmtpSink) -> None:
    sink.go_down()
    checkout.start("--settings", str(checkout.settings))
    checkout.send("b@example.com")
    checkout.kill()
    checkout.start("--settings", str(checkout.settings))
    listed = checkout.pennypost("queue", "list", "--json").json()
    assert listed["total"] == 1
    sink.come_up()
    checkout.pennypost("queue", "send", "--all")
    sink.wait_for_messages(1)


@pytest.mark.full
def test_killing_the_starter_alone_leaves_no_orphan_behind(checkout: Checkout) -> None:
    checkout.start("--settings", str(checkout.settings))
    pids = [checkout.pid(name) for name in NAMES if name != "dev"]
    checkout.kill(("dev",))
    wait_until(lambda: not any(_runs(pid) for pid in pids), what="the children end")
    checkout.start()
    assert checkout.page_status() < 500


@pytest.mark.full
def test_a_daemon_that_is_killed_is_started_again(checkout: Checkout) -> None:
    checkout.start("--settings", str(checkout.settings))
    for name in ("relay", "web", "steward"):
        old = checkout.pid(name)
        checkout.kill((name,))
        wait_until(lambda name=name, old=old: checkout.pid(name) != old, what=f"a new {name}")
    wait_until(lambda: checkout.pennypost("status", "--json").status == 0, what="all answer again")
    wait_until(
        lambda: checkout.send("b@example.com") is None, what="mail is taken", ignore=(OSError,)
    )


@pytest.mark.full
def test_a_second_start_takes_over_from_the_first(checkout: Checkout) -> None:
    checkout.start()
    first = checkout.process
    assert first is not None
    checkout.start()
    assert first.wait(30) == 0
    assert checkout.page_status() < 500


@pytest.mark.full
def test_settings_that_are_wrong_end_the_start_with_the_reason(checkout: Checkout) -> None:
    checkout.settings.write_text('{"mail.enabled": true}')
    argv = [sys.executable, "-P", "-m", "appliance.dev", "--data", str(checkout.data)]
    argv += ["--web", str(checkout.web), "--settings", str(checkout.settings)]
    done = subprocess.run(argv, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "main mail domain" in done.stderr
    assert "ready" not in done.stdout


@pytest.mark.full
def test_mail_switched_off_is_shut_and_its_state_says_so(checkout: Checkout) -> None:
    checkout.start("--settings", str(checkout.settings))
    assert checkout.pennypost("settings", "set", "mail.enabled=false").status == 0
    with pytest.raises((smtplib.SMTPException, OSError)):
        checkout.send("b@example.com")
    (relay,) = [
        service
        for service in checkout.pennypost("status", "--json").json()["services"]
        if service["name"] == "relay"
    ]
    assert (relay["wanted"], relay["state"]) == (False, "stopped")
    assert checkout.pennypost("settings", "set", "mail.enabled=true").status == 0
    checkout.send("b@example.com")


@pytest.mark.full
def test_an_administrator_is_made_by_the_command_line(checkout: Checkout) -> None:
    checkout.start("--settings", str(checkout.settings))
    made = checkout.pennypost("admin", "set", "anna", stdin="correct horse battery\n")
    assert made.status == 0, made.err
    assert checkout.pennypost("admin", "set", "bert", stdin="short\n").status == 1
    assert checkout.pennypost("admin", "list", "--json").json() == ["anna"]
    token = checkout.pennypost("token", "add", "ci", "--json").json()["token"]
    request = urllib.request.Request(
        f"http://127.0.0.1:{checkout.web}/api/v1/status",
        headers={"Authorization": f"Bearer {token}"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 200


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
