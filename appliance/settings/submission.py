"""Sending by our own people: signing in, and how much one account may send."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.settings.describe import number, switch


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """Signing in on the ports 587 and 465 (S1), rates and the stolen-account brake (B18)."""

    sign_in: bool = switch(
        False,
        "People sign in to send",
        "From outside, mail is taken for sending with the user name and password of an account. "
        "Off: only trusted networks may send.",
    )
    check_from: bool = switch(
        True,
        "The sender in the letter must be an own address",
        "Of who signed in, a letter is taken only if its From and Sender are addresses of that "
        "account or aliases that lead to it. Off: only the sender of the envelope is checked.",
    )
    max_per_hour: int = number(
        300,
        1,
        100_000,
        "messages",
        "Most messages of an account in an hour",
        "More are put off. An account can have a figure of its own.",
    )
    max_recipients_per_hour: int = number(
        1_000,
        1,
        1_000_000,
        "recipients",
        "Most recipients of an account in an hour",
        "More are put off. An account can have a figure of its own.",
    )
    brake: bool = switch(
        True,
        "Stolen-account brake",
        "An account that suddenly writes to very many strangers is held up: its mail waits in "
        "the queue until somebody looks.",
    )
    brake_new_recipients: int = number(
        60,
        5,
        100_000,
        "recipients",
        "New recipients in an hour that pull the brake",
        "Recipients that the account has never written to. Four times as many in a day do so too.",
    )
    brake_new_domains: int = number(
        30,
        3,
        100_000,
        "domains",
        "New domains in an hour that pull the brake",
        "Domains that the account has never written to. Four times as many in a day do so too.",
    )
