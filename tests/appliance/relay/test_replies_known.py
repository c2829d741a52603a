"""Replies as large providers and usual servers give them, and what a person is told."""

# ruff: noqa: E501  (a reply is a line)

from __future__ import annotations

import pytest

from appliance.relay.reasons import for_reply, gave_up
from appliance.relay.replies_known import KNOWN
from appliance.relay.say import NEXT_STEP, Say, next_step

REPLIES = (
    # Google
    ("421 4.7.0 [192.0.2.1 15] Our system has detected an unusual rate of unsolicited mail", Say.RATE_LIMITED),
    ("421 4.7.28 Gmail has detected an unusual rate of mail originating from your SPF domain", Say.RATE_LIMITED),
    ("550 5.7.1 [192.0.2.1 12] Our system has detected that this message is likely unsolicited mail", Say.GOOGLE_SUSPICIOUS),
    ("550 5.7.1 This message is likely suspicious due to the very low reputation of the sending domain", Say.GOOGLE_SUSPICIOUS),
    ("550 5.7.26 This mail has been blocked because the sender is unauthenticated; requires SPF or DKIM", Say.UNPROVED),
    ("550 5.7.26 Unauthenticated email from example.com is not accepted due to domain's DMARC policy", Say.DMARC_FAILS),
    ("421 4.7.26 This mail is rate limited, for the sender does not pass SPF or DKIM authentication", Say.UNPROVED),
    ("550 5.7.27 The sender has not passed SPF checks", Say.SPF_FAILS),
    ("550 5.7.30 DKIM did not pass", Say.DKIM_FAILS),
    ("421 4.7.32 The From: header is not aligned with either of SPF and DKIM", Say.DMARC_FAILS),
    ("550 5.7.25 The IP address sending this message does not have a PTR record set up", Say.NAME_OF_ADDRESS),
    ("550 5.7.1 [2001:db8::1] sending IP does not match a reverse DNS name", Say.NAME_OF_ADDRESS),
    ("421 4.7.29 This mail is rate limited because it was not sent over TLS", Say.TLS_WANTED),
    ("450 4.2.1 The user is receiving mail at a rate that prevents additional messages", Say.MAILBOX_BUSY),
    ("452 4.2.2 The recipient's inbox is out of storage space", Say.MAILBOX_FULL),
    ("550 5.1.1 The email account that you tried to reach does not exist", Say.UNKNOWN_RECIPIENT),
    ("550 5.2.1 The email account that you tried to reach is inactive", Say.MAILBOX_OFF),
    ("552 5.7.0 This message was blocked because its content presents a potential security issue", Say.CONTENT_ATTACHMENT),
    # Microsoft
    ("550 5.7.1 Messages from [192.0.2.1] were not sent; part of their network is on our list (S3140)", Say.MICROSOFT_BLOCKS),
    ("550 5.7.1 Messages from [192.0.2.1] were not sent; part of their network is on our list (S3150)", Say.MICROSOFT_BLOCKS),
    ("421 RP-001 The mail server IP connecting to our service exceeded the rate limit allowed", Say.RATE_LIMITED),
    ("451 4.7.650 The mail server [192.0.2.1] has been temporarily rate limited (S775)", Say.RATE_LIMITED),
    ("550 5.7.606 Access denied, banned sending IP [192.0.2.1]", Say.MICROSOFT_365_BLOCKS),
    ("550 5.7.511 Access denied, banned sender [192.0.2.1]; forward to the delist address", Say.MICROSOFT_365_BLOCKS),
    ("451 4.7.500 Server busy. Please try again later from [192.0.2.1]. (S77719)", Say.MICROSOFT_WAITS),
    ("451 4.7.500 Server busy. Please try again later from [192.0.2.1]. (AS77712)", Say.MICROSOFT_WAITS),
    ("550 5.7.515 Access denied, sending domain example.com does not meet the required authentication level", Say.UNPROVED),
    ("550 5.4.1 Recipient address rejected: Access denied. [AM0.example]", Say.UNKNOWN_RECIPIENT),
    ("550 5.7.133 RESOLVER.RST.SenderNotAuthenticatedForGroup; RequireSenderAuth", Say.NOT_ALLOWED),
    ("550 5.7.64 TenantAttribution; Relay Access Denied", Say.TENANT_BLOCKS),
    # Yahoo
    ("421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to user complaints", Say.YAHOO_WAITS),
    ("421 4.7.0 [TS01] Messages from 192.0.2.1 temporarily deferred due to user complaints", Say.YAHOO_WAITS),
    ("421 4.7.1 [TS03] All messages from 192.0.2.1 will be permanently deferred", Say.YAHOO_BLOCKS),
    ("554 5.7.9 Message not accepted for policy reasons. [PH01]", Say.CONTENT_SPAM),
    ("554 5.7.1 [BL21] Connections not accepted from servers on the Spamhaus SBL", Say.YAHOO_BLOCKS),
    # GMX, WEB.DE
    ("554 gmx.net (mxgmx101) Nemesis ESMTP Service not available. No SMTP service. Bad DNS PTR resource record", Say.NAME_OF_ADDRESS),
    ("554 web.de (mxweb011) Nemesis ESMTP Service not available. No SMTP service. IP address is block listed", Say.GMX_BLOCKS),
    ("550 Requested action not taken: mailbox unavailable", Say.UNKNOWN_RECIPIENT),
    ("550 Requested mail action not taken: dynamic or generic DNS names", Say.NAME_OF_ADDRESS),
    # T-Online, Apple
    ("554 IP=192.0.2.1 - A problem occurred. (Ask your postmaster for help or to contact tosa@rx.t-online.de)", Say.TELEKOM_BLOCKS),
    ("550 5.7.1 Your message was rejected due to local policy. [CS01]", Say.APPLE_BLOCKS),
    ("554 5.7.1 [HM08] Message rejected due to local policy", Say.APPLE_BLOCKS),
    # Block lists
    ("554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org", Say.SPAMHAUS),
    ("550 5.7.1 Client host blocked, listed by PBL, see the page of the list", Say.HOME_ADDRESS),
    ("550 5.7.1 We take no mail from dynamic IP addresses", Say.HOME_ADDRESS),
    ("554 5.7.1 Client host [192.0.2.1] blocked using bl.spamcop.net", Say.LISTED),
    ("554 Blocked by Barracuda Reputation", Say.LISTED),
    ("550 5.7.1 rejected because 192.0.2.1 is in a black list at an RBL", Say.LISTED),
    # Names and proofs
    ("450 4.7.25 Client host rejected: cannot find your hostname, [192.0.2.1]", Say.NAME_OF_ADDRESS),
    ("550 5.7.1 No rDNS for your address", Say.NAME_OF_ADDRESS),
    ("504 5.5.2 <box>: Helo command rejected: need fully-qualified hostname", Say.BAD_HELO),
    ("550 5.7.23 The message was rejected because of Sender Policy Framework violation", Say.SPF_FAILS),
    ("550 5.7.1 Email rejected per DMARC policy for example.com", Say.DMARC_FAILS),
    ("550 5.7.20 No passing DKIM signature found", Say.DKIM_FAILS),
    ("450 4.1.8 <a@example.invalid>: Sender address rejected: Domain not found", Say.SENDER_DOMAIN),
    # Ways in
    ("530 5.7.0 Must issue a STARTTLS command first", Say.TLS_WANTED),
    ("530 5.7.0 Authentication required", Say.SIGN_IN_FIRST),
    ("554 5.7.1 <a@example.net>: Relay access denied", Say.NO_RELAYING),
    ("556 5.1.10 Recipient address has null MX", Say.NULL_MX),
    ("521 5.3.2 Host does not accept mail", Say.TAKES_NO_MAIL),
    # How much
    ("452 4.5.3 Too many recipients", Say.TOO_MANY_RECIPIENTS),
    ("421 4.7.0 Too many connections from your address", Say.RATE_LIMITED),
    ("451 4.7.1 Rate limit exceeded, slow down", Say.RATE_LIMITED),
    ("450 4.2.0 <a@example.net>: Recipient address rejected: Greylisted, see the manual", Say.GREYLISTED),
    ("451 4.7.1 Greylisting in action, please come back later", Say.GREYLISTED),
    ("552 5.2.2 Mailbox is full / Blocks limit exceeded", Say.MAILBOX_FULL),
    ("452 4.2.2 <a@example.net> Quota exceeded (mailbox for user is full)", Say.MAILBOX_FULL),
    ("552 5.3.4 Message size exceeds fixed limit", Say.TOO_BIG),
    # What is inside
    ("554 5.7.1 Virus found in message", Say.CONTENT_VIRUS),
    ("550 5.7.1 Attachment type .exe not allowed", Say.CONTENT_ATTACHMENT),
    ("554 5.7.1 A URL in this message is listed", Say.CONTENT_LINK),
    ("554 5.7.1 Message rejected as spam by content filtering", Say.CONTENT_SPAM),
    ("550 5.6.0 Message not RFC 5322 compliant: From header is missing", Say.BAD_FORM),
    # Mailboxes
    ("550 5.1.1 <a@example.net>: Recipient address rejected: User unknown in virtual mailbox table", Say.UNKNOWN_RECIPIENT),
    ("550 No such user here", Say.UNKNOWN_RECIPIENT),
    ("550 Unrouteable address", Say.UNKNOWN_RECIPIENT),
    ("550 5.2.1 Mailbox disabled for this recipient", Say.MAILBOX_OFF),
    ("550 5.7.1 Sender address rejected: not welcome", Say.SENDER_REFUSED),
    ("451 4.3.0 Temporary lookup failure", Say.LOOKUP_THERE),
    # An address in the reply is not the server's word
    ("550 5.1.1 <spam.virus@dkim.example.net>: no", Say.UNKNOWN_RECIPIENT),
    # The plain ones, by their status
    ("421 4.3.2 going down", Say.BUSY),
    ("450 4.2.1 not now", Say.NOT_NOW),
    ("554 5.4.6 loop", Say.LOOP),
    ("550 no", Say.REFUSED),
)  # fmt: skip


@pytest.mark.parametrize(("reply", "say"), REPLIES, ids=[reply[:40] for reply, _ in REPLIES])
def test_a_usual_reply_is_understood(reply: str, say: Say) -> None:
    assert for_reply(int(reply[:3]), reply[4:]) is say


def test_the_samples_are_many_and_touch_every_sentence_of_the_table() -> None:
    assert len(REPLIES) >= 60
    assert {entry.say for entry in KNOWN} - {say for _, say in REPLIES} == set()


def test_every_sentence_but_success_has_a_next_step() -> None:
    assert [say for say in Say if say not in NEXT_STEP] == [Say.DELIVERED]
    for text in [*Say, *NEXT_STEP.values()]:
        assert text.endswith("."), text
        assert len(text) <= 140, text


def test_the_next_step_is_found_for_what_was_given_up_too() -> None:
    assert next_step(gave_up(Say.MAILBOX_FULL, 5 * 86_400)) == NEXT_STEP[Say.MAILBOX_FULL]
    assert next_step("Said by a version to come.") == ""
    assert next_step("") == ""


def test_a_huge_reply_is_looked_at_in_no_time() -> None:
    for text in ("spam " * 200_000, "a" * 10**6, "<" * 10**6, "user " * 10**5):
        assert for_reply(450, text)
