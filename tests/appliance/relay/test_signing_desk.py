"""The process that signs beside the relay: a help that may go at any time."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from appliance.base.clock import SystemClock
from appliance.policy import dkim
from appliance.policy.dkim import SigningKey
from appliance.relay import signing_desk
from appliance.relay.signing_desk import SigningDesk
from tests.support.relay_process import ROOT
from tests.support.signing import ed25519_key, rsa_key

HEAD, BODY = b"From: a@example.com\r\nSubject: hello\r\n", b"a letter  \r\nof two lines\r\n\r\n"
AT = 1_790_000_000.0


def keys() -> dict[str, tuple[SigningKey, ...]]:
    return {"example.com": (rsa_key("example.com"), ed25519_key("example.com"))}


@asynccontextmanager
async def opened(given: dict[str, tuple[SigningKey, ...]]) -> AsyncIterator[SigningDesk]:
    desk = SigningDesk(SystemClock())
    await desk.take_keys(given)
    try:
        yield desk
    finally:
        await desk.close()


async def until_it_signs(desk: SigningDesk, given: dict[str, tuple[SigningKey, ...]]) -> bytes:
    async with asyncio.timeout(30):
        while True:
            fields = await desk.sign(HEAD, BODY, given["example.com"], AT)
            if fields is not None:
                return fields
            await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def _the_program_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


pytestmark = pytest.mark.skipif(
    len(os.sched_getaffinity(0)) < 2, reason="with one core there is no second process"
)


def test_it_signs_as_the_relay_itself_would() -> None:
    given = keys()

    async def play() -> bytes:
        async with opened(given) as desk:
            return await until_it_signs(desk, given)

    assert asyncio.run(play()) == dkim.sign_parts(
        HEAD, dkim.blocks_of(BODY), given["example.com"], now=datetime.fromtimestamp(AT, UTC)
    )


def test_many_at_once_get_each_their_own_signature() -> None:
    given = keys()

    async def play() -> list[bytes | None]:
        async with opened(given) as desk:
            await until_it_signs(desk, given)
            asked = (desk.sign(HEAD, b"%d\r\n" % n, given["example.com"], AT) for n in range(20))
            return await asyncio.gather(*asked)

    now = datetime.fromtimestamp(AT, UTC)
    assert asyncio.run(play()) == [
        dkim.sign_parts(HEAD, dkim.blocks_of(b"%d\r\n" % n), given["example.com"], now=now)
        for n in range(20)
    ]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_nobody_waits_for_one_that_died_or_is_stuck(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signing_desk, "PATIENCE_SECONDS", 0.1)
    given = keys()

    async def play() -> bytes | None:
        async with opened(given) as desk:
            await until_it_signs(desk, given)
            assert desk.pid is not None
            os.kill(desk.pid, number)
            async with asyncio.timeout(10):
                lost = await desk.sign(HEAD, BODY, given["example.com"], AT)
            if number is signal.SIGSTOP:
                os.kill(desk.pid, signal.SIGKILL)
            return lost

    assert asyncio.run(play()) is None


def test_it_comes_back_after_its_death(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signing_desk, "SECONDS_BETWEEN_STARTS", 0.0)
    given = keys()

    async def play() -> bytes:
        async with opened(given) as desk:
            await until_it_signs(desk, given)
            assert desk.pid is not None
            os.kill(desk.pid, signal.SIGKILL)
            return await until_it_signs(desk, given)

    assert b"a=rsa-sha256" in asyncio.run(play())


def test_it_signs_only_with_the_keys_in_force() -> None:
    given, others = keys(), keys()

    async def play() -> bytes | None:
        async with opened(given) as desk:
            await until_it_signs(desk, given)
            return await desk.sign(HEAD, BODY, others["example.com"][:1], AT)

    assert asyncio.run(play()) is None


def test_without_keys_there_is_no_process() -> None:
    async def play() -> int | None:
        async with opened({}) as desk:
            return desk.pid

    assert asyncio.run(play()) is None
