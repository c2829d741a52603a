"""Who the letter is from: one mailbox that every reader reads alike, or trouble."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.mail.from_field import from_domains, mailboxes

LEGIT, EVIL = b"boss@bank.example", b"thief@evil.example"
ENCODED = b"=?utf-8?B?Ym9zc0BiYW5rLmV4YW1wbGU=?="  # boss@bank.example

# Written so that one program reads the bank, another one the thief, or nobody knows.
HOSTILE = {
    "two fields": b"From: " + LEGIT + b"\r\nFrom: " + EVIL,
    "two fields, other case": b"From: " + EVIL + b"\r\nFROM: " + LEGIT,
    "two fields, the first empty": b"From:\r\nFrom: " + EVIL,
    "white space before the colon": b"From : " + EVIL,
    "tab before the colon": b"From\t: " + EVIL,
    "two fields, one with white space before the colon": b"From : " + LEGIT + b"\r\nFrom: " + EVIL,
    "white space before the name": b" From: " + LEGIT + b"\r\nFrom: " + EVIL,
    "white space before the only one": b" From: " + EVIL,
    "a letter outside ASCII in the name": b"Fr\xc3\xb6m: x\r\nFrom\xa0: " + EVIL,
    "no field": b"To: " + EVIL,
    "empty field": b"From: ",
    "only white space": b"From:  \t ",
    "folded to nothing": b"From:\r\n ",
    "an empty folded line": b"From: " + EVIL + b"\r\n \r\n <" + LEGIT + b">",
    "the name folded": b"From\r\n : " + EVIL,
    "a line that is no field before it": b"hello\r\nFrom: " + EVIL,
    "an mbox line": b"From " + LEGIT + b" Thu Jan 1 00:00:00 2026\r\nFrom: " + EVIL,
    "two addresses": b"From: " + LEGIT + b", " + EVIL,
    "two mailboxes": b"From: <" + LEGIT + b">, <" + EVIL + b">",
    "two brackets": b"From: <" + LEGIT + b"><" + EVIL + b">",
    "brackets around a comment": b"From: <" + LEGIT + b">(x)<" + EVIL + b">",
    "one with a name": b"From: Bank <" + LEGIT + b">, Thief <" + EVIL + b">",
    "an address and a bracket": b"From: " + LEGIT + b", <" + EVIL + b">",
    "an address as the name": b"From: " + LEGIT + b" <" + EVIL + b">",
    "an address behind the bracket": b"From: <" + EVIL + b"> " + LEGIT,
    "an encoded address and a bracket": b"From: " + ENCODED + b", <" + EVIL + b">",
    "an encoded address as the name": b"From: " + ENCODED + b" <" + EVIL + b">",
    "an encoded address alone": b"From: " + ENCODED,
    "an encoded address in brackets": b"From: <" + ENCODED + b">",
    "an encoded local part": b"From: =?utf-8?B?Ym9zcw==?=@evil.example",
    "an encoded bracket": b"From: =?utf-8?Q?=3Cboss=40bank.example=3E?= <" + EVIL + b">",
    "an encoded NUL": b"From: =?utf-8?Q?boss=00?= <" + EVIL + b">",
    "an encoded line end": b"From: =?utf-8?Q?x=0D=0AFrom:_y?= <" + EVIL + b">",
    "a group": b"From: Bank: " + LEGIT + b", " + EVIL + b";",
    "a group of one": b"From: Bank: " + EVIL + b";",
    "an empty group": b"From: undisclosed-recipients:;",
    "a route": b"From: <@evil.example:" + LEGIT + b">",
    "a list of routes": b"From: <@evil.example,@bank.example:" + LEGIT + b">",
    "a bracket in brackets": b"From: <<" + LEGIT + b">" + EVIL + b">",
    "an open bracket": b"From: <" + EVIL,
    "a closed bracket only": b"From: " + LEGIT + b"> <" + EVIL + b">",
    "an open quotation": b'From: "' + LEGIT + b" <" + EVIL + b">",
    "an open comment": b"From: (" + LEGIT + b" <" + EVIL + b">",
    "a comment in the address": b"From: boss@bank.example(.evil.example)x",
    "a comment before the @": b"From: boss(x)@bank.example",
    "two @": b"From: boss@bank.example@evil.example",
    "no domain": b"From: boss",
    "a name and no domain": b"From: Bank <boss>",
    "an empty domain": b"From: boss@",
    "an empty local part": b"From: @bank.example",
    "a dot at the end": b"From: boss@bank.example.",
    "a comma in the address": b"From: <boss@bank.example,thief@evil.example>",
    "a semicolon between": b"From: " + LEGIT + b"; " + EVIL,
    "white space in the address": b"From: <boss@bank.example thief@evil.example>",
    "a backslash": b"From: boss\\@bank.example <" + EVIL + b">",
    "a NUL in the name": b"From: Bank\0 <" + EVIL + b">",
    "a NUL in the address": b"From: <" + LEGIT + b"\0@evil.example>",
    "a NUL elsewhere": b"Subject: \0\r\nFrom: " + EVIL,
    "a bare CR": b"From: " + LEGIT + b"\rFrom: " + EVIL,
    "a bare LF": b"From: " + LEGIT + b"\nFrom: " + EVIL,
    "another control character": b"From: boss@bank.example\x0b<" + EVIL + b">",
    "a name with a control character": b"From: B\x08ank <" + EVIL + b">",
    "an invisible letter": "From: boss@bank\u202e.example".encode(),
    "far too long": b"From: " + b"x " * 4000 + b"<" + EVIL + b">",
    "quoted text and an address without brackets": b'From: "' + LEGIT + b'" ' + EVIL,
}  # fmt: skip

GOOD = {
    b"From: anna@example.com": "anna@example.com",
    b"from: anna@example.com": "anna@example.com",
    b"From:anna@example.com": "anna@example.com",
    b"From: <anna@example.com>": "anna@example.com",
    b"From: < anna@example.com >": "anna@example.com",
    b"From: Anna <anna@example.com>": "anna@example.com",
    b"From: Anna Maria von Beispiel <anna@example.com>": "anna@example.com",
    b'From: "Beispiel, Anna" <anna@example.com>': "anna@example.com",
    b'From: "Anna \\"the\\" <x>" <anna@example.com>': "anna@example.com",
    b"From: Beispiel, Anna <anna@example.com>": "anna@example.com",  # wrong, common, harmless
    b"From: Dr. A. Beispiel <anna@example.com>": "anna@example.com",
    b"From: [List] Anna <anna@example.com>": "anna@example.com",
    b"From: anna@example.com <anna@example.com>": "anna@example.com",
    b"From: 'Anna' <anna@example.com>": "anna@example.com",
    b'From: "boss@bank.example via list" <list@example.com>': "list@example.com",
    b"From: anna@example.com (Anna)": "anna@example.com",
    b"From: (Anna) anna@example.com": "anna@example.com",
    b"From: Anna (at (work)) <anna@example.com> (home)": "anna@example.com",
    b"From:\r\n Anna\r\n\t<anna@example.com>": "anna@example.com",
    b"From: =?utf-8?Q?J=C3=BCrgen?= <j@example.com>": "j@example.com",
    b"From: =?utf-8?B?w4Q=?= =?utf-8?B?w5Y=?= <j@example.com>": "j@example.com",
    b"From: =?unknown?Q?x?= <j@example.com>": "j@example.com",
    b"From: =?utf-8?B?!?= <j@example.com>": "j@example.com",
    "From: Jürgen <jürgen@müller.example>".encode(): "jürgen@müller.example",
    "From: Jürgen <j@example.com>".encode("latin-1"): "j@example.com",
    b'From: "a b"@example.com': '"a b"@example.com',
    b'From: X <"a>b"@example.com>': '"a>b"@example.com',
    b"From: a@[192.0.2.1]": "a@[192.0.2.1]",
    b"Received: x\r\n\tfrom y\r\nFrom: a@example.com\r\nResent-From: c@d.example": "a@example.com",
    b"From-Someone: x@y.example\r\nFrom: a@example.com": "a@example.com",
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_heads_are_trouble(name: str) -> None:
    found = from_domains(
        b"To: anna@example.com\r\n"[: 0 if name.startswith("white") else None]
        + HOSTILE[name]
        + b"\r\nSubject: x\r\n"
    )
    assert found.trouble
    assert found.addresses == ()
    assert "\r" not in found.trouble
    assert "evil" not in found.trouble


def test_there_are_enough_hostile_heads() -> None:
    assert len(HOSTILE) >= 38


@pytest.mark.parametrize("head", GOOD)
def test_ordinary_heads_are_read(head: bytes) -> None:
    found = from_domains(head + b"\r\n")
    assert found.trouble == ""
    assert [str(address) for address in found.addresses] == [GOOD[head]]
    assert len(found.domains) == 1


def test_domains_are_in_the_form_to_compare() -> None:
    assert from_domains("From: x@MÜLLER.example\r\n".encode()).domains == ("xn--mller-kva.example",)


PIECES = [
    b"From", b":", b" ", b"\r\n", b"<", b">", b"a@b.example", b"c@d.example", b",", b'"', b"(",
    b")", b"=?utf-8?Q?e=40f.example?=", b"\\", b"\0", b";", b"To: x\r\n", b"\t", b"\xff",
]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=20).map(b"".join))
def test_whatever_comes_there_is_one_mailbox_or_trouble(head: bytes) -> None:
    found = from_domains(head)
    assert (len(found.addresses) == 1) == (found.trouble == "")


def test_a_head_full_of_brackets_costs_linear_time() -> None:
    assert from_domains(b"From: " + b"(" * 200_000 + b"\r\n").trouble
    assert from_domains(b"From: " + b'"' * 4000 + b"\r\n").trouble
    assert from_domains(b"From: " + b"=?" * 2000 + b" <a@b.example>\r\n").trouble == ""


# Hostile to who wants one author, but a fine list of several.
SEVERAL = {name for name in HOSTILE if name.startswith(("two addresses", "two mailboxes"))} | {
    "one with a name",
    "an address and a bracket",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_in_a_list_only_commas_divide_and_all_else_is_trouble(name: str) -> None:
    found = mailboxes(HOSTILE[name] + b"\r\n")
    if name in SEVERAL:
        assert {str(one) for one in found.addresses} == {LEGIT.decode(), EVIL.decode()}
    elif name != "no field":
        assert not found.addresses


@pytest.mark.parametrize("head", GOOD)
def test_a_list_of_one_is_read_as_the_one(head: bytes) -> None:
    assert [str(one) for one in mailboxes(head + b"\r\n").addresses] == [GOOD[head]]


def test_what_is_shown_beside_an_address_is_told_plainly() -> None:
    head = b'From: "B\\"ob" (c) <a@b.example>, =?utf-8?Q?e=40d.example?= <c@d.example>\r\n'
    found = mailboxes(head)
    assert [str(one) for one in found.addresses] == ["a@b.example", "c@d.example"]
    assert {'B"ob', "c", "e@d.example"} <= set(found.shown)
    assert mailboxes(b"Sender: a@b.example\r\n", "Sender").addresses
    assert mailboxes(b"Sender: a@b.example\r\n") == mailboxes(b"")


@given(st.lists(st.sampled_from(PIECES), max_size=20).map(b"".join))
def test_whatever_comes_there_is_a_list_of_mailboxes_or_trouble(head: bytes) -> None:
    found, one = mailboxes(head), from_domains(head)
    assert not (found.addresses and found.trouble)
    if not one.trouble:
        assert found.addresses == one.addresses


@pytest.mark.parametrize("piece", [b",", b"a,", b"a@b.example,", b'"",', b"<a@b.example>,", b"(,)"])
def test_a_list_of_the_greatest_length_is_read_at_once(piece: bytes) -> None:
    started = time.process_time()
    mailboxes(b"From: " + piece * (4080 // len(piece)) + b"\r\n")
    assert time.process_time() - started < 0.2
