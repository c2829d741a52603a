"""MAIL and RCPT with their parameters."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.mail.envelope import Notify
from appliance.mail.esmtp import CommandError, parse_mail, parse_rcpt
from appliance.mail.reply import Reply


def test_values_keep_their_case_and_keywords_need_none() -> None:
    command = parse_mail("from:<a@b.example> envid=aBc+2B ret=full body=8bitmime", extended=True)
    assert (command.envid, command.ret, command.eight_bit) == ("aBc+2B", "FULL", True)


def test_a_bracket_inside_quotes_does_not_end_the_path() -> None:
    command = parse_mail('FROM:<"a>b c"@example.org> SIZE=5', extended=True)
    assert str(command.mail_from) == '"a>b c"@example.org'
    assert command.size == 5


def test_notify_and_orcpt_are_kept() -> None:
    recipient = parse_rcpt(
        "TO:<b@example.org> NOTIFY=success,DELAY ORCPT=rfc822;Bob+2Bx@example.org",
        extended=True,
        smtputf8=False,
    )
    assert recipient.notify == (Notify.SUCCESS, Notify.DELAY)
    assert recipient.orcpt == "rfc822;Bob+2Bx@example.org"
    assert recipient.wants(Notify.SUCCESS)
    assert not recipient.wants(Notify.FAILURE)


@pytest.mark.parametrize(
    "argument",
    [
        "FROM:<a@b> SIZE=1 SIZE=2", "FROM:<a@b> =1", "FROM:<a@b> SIZE", "FROM:<a@b> S-=",
        "FROM:<a@b> SIZE=" + "9" * 21, "FROM:<a@b> ENVID=" + "a" * 101, "FROM:<a@b> ENVID=a+2",
        "FROM<a@b>", "TO:<a@b>", "FROM:<a@b>x", "FROM: <a@b", "FROM:  <a@b>", "FROM:<<a@b>>",
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_for_good(argument: str) -> None:
    with pytest.raises(CommandError) as refused:
        parse_mail(argument, extended=True)
    assert refused.value.reply.is_permanent


def refusal(read: Callable[[], object]) -> Reply | None:
    try:
        read()
    except CommandError as error:
        return error.reply
    return None


@given(st.text(max_size=120))
def test_any_argument_is_read_or_refused_with_a_reply(argument: str) -> None:
    for read in (
        lambda: parse_mail(argument, extended=True),
        lambda: parse_mail(f"FROM:<{argument}>", extended=True),
        lambda: parse_rcpt(f"TO:<{argument}> NOTIFY={argument}", extended=True, smtputf8=True),
    ):
        reply = refusal(read)
        assert reply is None or reply.is_permanent
