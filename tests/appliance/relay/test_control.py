"""The pulse that the panel's LEDs follow."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from appliance.base.control import Peer, Request
from appliance.policy.verdict import Port
from appliance.relay.control import Control
from tests.support.relay_box import RelayBox
from tests.support.smtp_client import SmtpClient


def pulse(box: RelayBox) -> Any:
    async def none() -> None: ...

    orders = Control(box.shop, box.listener, box.worker, none, none)
    request = Request(verb="pulse", args={}, peer=Peer(0, 0, 0), progress=lambda step: None)
    return box.run(asyncio.wait_for(orders.handlers()["pulse"](request), 30))  # type: ignore[arg-type]


def test_the_pulse_says_whether_mail_is_taken_and_counts_letters(tmp_path: Path) -> None:
    settings = {"relay.trusted_networks": ["127.0.0.0/8"]}
    with RelayBox(tmp_path, settings, deliver=False) as box:
        assert pulse(box) == {"accepting": True, "letters": 0}
        with SmtpClient("127.0.0.1", box.port(Port.SMTP)) as client:
            client.hello()
            client.envelope("anna@example.com", ["bert@elsewhere.example"])
            assert client.data(b"Subject: x\r\n\r\nx\r\n").code == 250
        assert pulse(box) == {"accepting": True, "letters": 1}
        box.shop.accepting = False
        assert pulse(box)["accepting"] is False
