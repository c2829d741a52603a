"""The AUTH exchange (RFC 4954): from the command to a name and a password."""

from collections.abc import Awaitable, Callable

from appliance.mail import reply as replies
from appliance.mail import sasl
from appliance.mail.esmtp import CommandError
from appliance.mail.reply import Reply
from appliance.mail.sasl import Credentials, SaslError
from appliance.policy.people import login_of
from appliance.policy.verdict import Facts, Port
from appliance.relay.shop import Shop
from appliance.relay.sign_in import Outcome

MAX_WRONG_IN_A_SESSION = 5
Ask = Callable[[str], Awaitable[str]]  # a challenge in base64, and what the client says to it


def is_offered(shop: Shop, port: Port) -> bool:
    """Whether people sign in here: on the ports for them, when the settings say so."""
    return port.is_submission and shop.settings.submission.sign_in and shop.sign_in is not None


def refusal(shop: Shop, facts: Facts, *, extended: bool, begun: bool) -> Reply | None:
    """Why AUTH is not taken now (RFC 4954 §4); None when it is. `begun`: after MAIL."""
    if not is_offered(shop, facts.port):
        return replies.NOT_IMPLEMENTED
    if not extended or not facts.helo:
        return replies.EHLO_FIRST
    if not facts.tls:
        return replies.ENCRYPT_FIRST
    if facts.user:
        return replies.SIGNED_IN_ALREADY
    return replies.NO_SIGN_IN_NOW if begun else None


async def exchange(argument: str, ask: Ask) -> Credentials:
    """Follow the mechanism that the client chose. Raises CommandError."""
    mechanism, _, rest = argument.partition(" ")
    initial = sasl.initial_response(rest.strip(" "))
    try:
        match mechanism.upper():
            case "PLAIN":
                return sasl.plain(await _said(ask, "") if initial is None else initial)
            case "LOGIN":
                user = await _said(ask, sasl.ASK_USER) if initial is None else initial
                name = sasl.decode(user)
                return Credentials(name, sasl.decode(await _said(ask, sasl.ASK_PASSWORD)))
            case "":
                raise CommandError(replies.BAD_SYNTAX)
            case _:
                raise CommandError(replies.UNKNOWN_MECHANISM)
    except SaslError as error:
        raise CommandError(replies.BAD_BASE64) from error


async def _said(ask: Ask, challenge: str) -> str:
    answer = await ask(challenge)
    if answer == sasl.CANCEL:
        raise CommandError(replies.SIGN_IN_CANCELLED)
    return answer


async def check(shop: Shop, said: Credentials, client: str, *, trusted: bool) -> Outcome:
    """Ask whether they fit."""
    if shop.sign_in is None:
        return Outcome(trouble="there are no accounts")
    login = login_of(said.user, shop.rules.mail_domains)
    return await shop.sign_in.check(login, said.password, client=client, trusted=trusted)


def answer_to(outcome: Outcome) -> Reply:
    """What the client is told."""
    if outcome.login:
        return replies.SIGNED_IN
    if outcome.trouble:
        return replies.SIGN_IN_BUSY
    return replies.SIGN_IN_LATER if outcome.wait_seconds else replies.WRONG_PASSWORD


def log(shop: Shop, session: str, user: str, client: str, port: str, outcome: Outcome) -> None:
    """One line for each try, never with the password."""
    if outcome.login:
        shop.counters["sign_ins"] += 1
        shop.log.event(session, "signed-in", user=outcome.login, client=client, port=port)
        return
    shop.counters["sign_in_failures"] += 1
    why = outcome.trouble or (
        f"has to wait {outcome.wait_seconds:.0f} s" if outcome.wait_seconds else "wrong password"
    )
    shop.log.event(session, "sign-in-refused", user=user[:100], client=client, port=port, why=why)
