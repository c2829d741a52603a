"""Every parser of what strangers write refuses bad input in its own words, and takes linear time.

`seeds/` has one input a line, with Python's escapes. What once broke a parser stays there.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.base import control
from appliance.base.finding import Refused
from appliance.dns.resolver import FakeResolver
from appliance.mail import address, auth_results, dsn, esmtp, from_field, message
from appliance.policy import dkim, dkim_form, dkim_key, dmarc_record, spf_record
from appliance.settings import schema
from appliance.steward import arguments
from appliance.steward.arguments import Argument
from tests.fuzz.mutate import mutated

SEEDS = Path(__file__).parent / "seeds"
FAST, FULL, SOAK = 100, 5_000, 1_000_000  # of each parser
SPICE = [
    b"\0", b"\r", b"\n", b"<", b">", b"@", b'"', b"\\", b"\xff", b"\xc3\xa9", b"(" * 50, b"=" * 9,
    b"A" * 300, b"%{d}", b";", b":", b",", b".", b"[", b"{", b"9" * 30, b"1e999", b"null", b"-1",
    b"\xe2\x80\xae", b"\xf0\x9f\x90\x91", b"xn--", b"=?utf-8?b?AAAA?=", b"\r\n ", b"\r\nFrom: ",
]  # fmt: skip
KEY = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
LOOP = asyncio.new_event_loop()


def text(raw: bytes) -> str:
    """As a session sees it."""
    return raw.decode("utf-8", "surrogateescape")


def parse_from(raw: bytes) -> None:
    found = from_field.from_domains(raw)
    assert len(found.addresses) == 1 or found.trouble
    message.field_values(raw, "From")
    auth_results.without_forged(raw, "box.example.com")


def parse_esmtp(raw: bytes) -> None:
    line = raw.decode("utf-8", "replace")
    for parse in (
        lambda: esmtp.parse_mail(line, extended=True),
        lambda: esmtp.parse_rcpt(line, extended=True, smtputf8=True),
    ):
        with contextlib.suppress(esmtp.CommandError):
            parse()


def parse_address(raw: bytes) -> None:
    found = address.parse(raw.decode("utf-8", "replace"))
    assert address.parse(str(found)) == found


def parse_spf(raw: bytes) -> None:
    if spf_record.is_spf(text(raw)):
        spf_record.parse(text(raw))


def parse_dmarc(raw: bytes) -> None:
    if dmarc_record.is_dmarc(text(raw)):
        dmarc_record.parse(text(raw))


def verify_dkim(raw: bytes) -> None:
    resolver = FakeResolver(TXT={"one._domainkey.example.com": [KEY]})
    now = datetime(2026, 1, 1, tzinfo=UTC)
    for found in LOOP.run_until_complete(dkim.verify(resolver, raw, now=now)):
        assert found.result in (
            "pass", "fail", "neutral", "policy", "permerror", "temperror", "none",
        )  # fmt: skip


def parse_settings(raw: bytes) -> None:
    read = json.loads(raw)
    if isinstance(read, dict):
        taken = schema.from_json(schema.flatten(read))
        assert schema.from_json(schema.to_json(taken)) == taken


WANTED = {
    "changes": Argument(arguments.settings_object, default={}, optional=True),
    "author": Argument(arguments.author),
    "limit": Argument(arguments.whole_number(1, arguments.MAX_HISTORY), default=10, optional=True),
    "revision": Argument(arguments.whole_number(0, 1 << 31), default=0, optional=True),
    "domain": Argument(arguments.domain_name, default="", optional=True),
}


async def _handle(request: control.Request) -> Any:
    return arguments.read(WANTED, request.args)


HANDLERS = {f"settings.{name}": _handle for name in ("change", "history", "undo")}


def ask_steward(raw: bytes) -> None:
    peer = control.Peer(pid=1, uid=0, gid=0)
    answer: Mapping[str, Any] = LOOP.run_until_complete(
        control._dispatch(HANDLERS, raw, peer, lambda step: None)
    )
    assert answer["ok"] or answer["finding"]["check"] != "control.internal", answer
    json.dumps(answer)


PARSERS: dict[str, tuple[Callable[[bytes], Any], tuple[type[Exception], ...]]] = {
    "address": (parse_address, (address.AddressError,)),
    "esmtp": (parse_esmtp, ()),
    "from": (parse_from, ()),
    "spf": (parse_spf, (spf_record.SpfSyntaxError,)),
    "dmarc": (parse_dmarc, ()),
    "dkim_key": (lambda raw: dkim_key.parse_record(text(raw)), (dkim_form.FormError,)),
    "dkim_message": (verify_dkim, ()),
    "xtext": (lambda raw: dsn.decode_xtext(text(raw)), ()),
    "settings": (parse_settings, (Refused, json.JSONDecodeError, UnicodeDecodeError)),
    "request": (ask_steward, ()),
}


@cache
def seeds(name: str) -> tuple[bytes, ...]:
    lines = (SEEDS / f"{name}.txt").read_text().splitlines()
    return tuple(_unescaped(line) for line in lines if line)


def _unescaped(line: str) -> bytes:
    if "\\" not in line:
        return line.encode()
    return line.encode("latin-1").decode("unicode_escape").encode("latin-1")


def try_one(name: str, raw: bytes) -> None:
    parse, refusals = PARSERS[name]
    try:
        parse(raw)
    except refusals:
        pass
    except Exception as error:
        raise AssertionError(f"{name}: {error!r} for {raw!r}") from error


def fuzz(name: str, count: int, start: int) -> None:
    for number in range(start, start + count):
        chance = random.Random(number)
        try_one(name, mutated(chance.choice(seeds(name)), chance, SPICE))


@pytest.mark.parametrize("name", PARSERS)
def test_the_seeds_and_some_of_their_kin_are_read_or_refused(name: str) -> None:
    for seed in seeds(name):
        try_one(name, seed)
    fuzz(name, FAST, 0)


@pytest.mark.full
@pytest.mark.parametrize("name", PARSERS)
def test_fifty_thousand_wounded_inputs_are_read_or_refused(name: str) -> None:
    fuzz(name, FULL, 10_000)


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", PARSERS)
def test_a_million_wounded_inputs_of_each_kind(name: str) -> None:
    fuzz(name, SOAK, 1_000_000)


@pytest.mark.full
@given(raw=st.binary(max_size=200), name=st.sampled_from(sorted(PARSERS)))
def test_any_bytes_are_read_or_refused(raw: bytes, name: str) -> None:
    try_one(name, raw)


def seconds(name: str, raw: bytes) -> float:
    """The best of three."""
    found = []
    for _ in range(3):
        begun = time.perf_counter()
        try_one(name, raw)
        found.append(time.perf_counter() - begun)
    return min(found)


@pytest.mark.full
@pytest.mark.parametrize("name", PARSERS)
def test_time_grows_no_faster_than_the_input(name: str) -> None:
    """Eight times the input: at most twenty times as long, or too quick to measure."""
    for piece in (b"(", b"<a@", b"a,", b'"', b"\\", b"=?", b" \r\n ", b"%{", b"a=b;", b"a.", b"[{"):
        for seed in seeds(name)[:3]:
            at = len(seed) // 2
            small, large = (
                seconds(name, seed[:at] + piece * (size // len(piece)) + seed[at:])
                for size in (8_000, 64_000)
            )
            assert large < 0.05 or large < 20 * small, f"{piece!r}: {small:.4f} s, {large:.4f} s"


def test_the_fuzzer_sees_a_parser_that_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(raw: bytes) -> None:
        if b"\0" in raw:
            raise IndexError("out of range")

    monkeypatch.setitem(PARSERS, "xtext", (breaks, ()))
    with pytest.raises(AssertionError, match="IndexError"):
        fuzz("xtext", 300, 0)
