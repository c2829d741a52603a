"""The smarthost: its ways of encryption and sign-in, and the trial of it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from appliance.base.finding import Refused, Result
from appliance.dns.resolver import FakeResolver
from appliance.relay import smarthost
from appliance.relay.worker import Outside
from appliance.settings import schema
from tests.support.relay_box import RelayBox
from tests.support.relay_process import ROOT, RelayProcess
from tests.support.smtp_client import SmtpClient
from tests.support.smtp_sink import Plan, SmtpSink
from tests.support.tls import Authority

RESOLVER = FakeResolver(A={"smart.example": ["127.0.0.1"], "other.example": ["127.0.0.1"]})
USERS = {"box@smart.example": "geheim ü"}


def settings(sink: SmtpSink, tls: str, **more: Any) -> dict[str, Any]:
    return {
        "mail.relay_domains": [],
        "relay.trusted_networks": ["127.0.0.1/32"],
        "outbound.mode": "smarthost",
        "outbound.smarthost_host": "smart.example",
        "outbound.smarthost_port": sink.port,
        "outbound.smarthost_tls": tls,
        "outbound.smarthost_user": "box@smart.example",
        "outbound.smarthost_password": "geheim ü",
        **{name.replace("__", "."): value for name, value in more.items()},
    }


@pytest.mark.full
@pytest.mark.parametrize("tls", ["opportunistic", "required", "implicit"])
@pytest.mark.parametrize("offered", ["PLAIN LOGIN", "LOGIN"])
def test_all_mail_goes_through_it_encrypted_and_signed_in(
    tmp_path: Path, tls: str, offered: str
) -> None:
    authority = Authority(tmp_path)
    context = authority.server("smart.example")
    with SmtpSink(tls=context, implicit_tls=tls == "implicit") as sink:
        sink.plan = Plan(users=USERS, auth=offered)
        outside = Outside(cafile=str(authority.cafile))
        with (
            RelayBox(
                tmp_path / "box", settings(sink, tls), resolver=RESOLVER, outside=outside
            ) as box,
            SmtpClient("127.0.0.1", box.port()) as client,
        ):
            body = b"Subject: x\r\n\r\nx\r\n"
            to = ["a@one.example", "b@two.example"]
            assert client.send_message("me@example.com", to, body).code == 250
            (got,) = sink.wait_for_messages(1, timeout_seconds=30)
    assert got.tls
    assert got.user == "box@smart.example"
    assert sorted(got.recipients) == to  # one transaction for both domains


def tried(sink: SmtpSink, cafile: Path, tls: str, **more: Any) -> list[tuple[str, str, str]]:
    made = schema.from_json(settings(sink, tls, **more))
    found = asyncio.run(smarthost.check(made, RESOLVER, "box.example.com", cafile=str(cafile)))
    assert sink.messages == []
    return [(one.check.removeprefix("smarthost."), one.result, one.say) for one in found]


def test_the_trial_goes_through_every_step(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with SmtpSink(tls=authority.server("smart.example")) as sink:
        sink.plan = Plan(users=USERS)
        found = tried(sink, authority.cafile, "required")
        assert [(step, result) for step, result, _ in found] == [
            ("name", Result.OK), ("connect", Result.OK), ("greeting", Result.OK),
            ("encryption", Result.OK), ("sign-in", Result.OK),
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "plan", "step", "words"),
    [
        ({"outbound__smarthost_password": "wrong"}, Plan(users=USERS), "sign-in", "not accept"),
        ({}, Plan(), "sign-in", "no way to sign in"),
        ({}, Plan(users=USERS, starttls=False), "encryption", "no encryption"),
        (
            {"outbound__smarthost_host": "other.example"},
            Plan(users=USERS),
            "encryption",
            "not valid for its name",
        ),
        ({"outbound__smarthost_host": "typo.example"}, Plan(), "name", "does not exist"),
        ({"outbound__smarthost_port": 1}, Plan(), "connect", "refuses connections"),
        ({}, Plan(banner="554 5.7.1 go away"), "greeting", "by its rules"),
    ],
)
def test_the_trial_names_the_step_that_fails(
    tmp_path: Path, changes: dict[str, Any], plan: Plan, step: str, words: str
) -> None:
    authority = Authority(tmp_path)
    with SmtpSink(tls=authority.server("smart.example")) as sink:
        sink.plan = plan
        *before, last = tried(sink, authority.cafile, "required", **changes)
        assert all(result == Result.OK for _, result, _ in before)
        assert (last[0], last[1]) == (step, Result.BAD)
        assert words in last[2]


@pytest.mark.full
def test_the_command_line_tries_it(tmp_path: Path) -> None:
    with SmtpSink() as sink:
        made = settings(
            sink, "opportunistic", outbound__smarthost_host=sink.host, outbound__smarthost_user=""
        )
        relay = RelayProcess(tmp_path, made)
        relay.start()
        command = [sys.executable, "-m", "appliance.cli", "--run", str(relay.socket_path.parent)]
        try:
            good = subprocess.run(
                [*command, "smarthost", "test"], cwd=ROOT, capture_output=True, text=True
            )
            sink.go_down()
            bad = subprocess.run(
                [*command, "smarthost", "test"], cwd=ROOT, capture_output=True, text=True
            )
        finally:
            relay.stop()
    assert good.returncode == 0, good.stderr
    assert "ok   The smarthost answers.\n" in good.stdout
    assert "warn The connection is not encrypted." in good.stdout
    assert bad.returncode == 1
    assert "bad  The next mail server refuses connections" in bad.stdout


def test_there_is_no_trial_without_a_smarthost() -> None:
    with pytest.raises(Refused):
        asyncio.run(smarthost.check(schema.Settings(), RESOLVER, "box.example.com"))
