"""Trying the smarthost (FEATURES A1): the steps of a delivery up to the letter itself, each with
what came of it.

The first step that fails ends the trial; nothing is sent to anybody.
"""

from dataclasses import replace

from appliance.base.finding import Finding, Refused, Result
from appliance.dns.resolver import Resolver
from appliance.relay import targets
from appliance.relay.reasons import DeliveryTrouble, Say
from appliance.relay.router import Route, Tls, smarthost
from appliance.relay.smtp_out import Connection, Demand, Patience
from appliance.relay.targets import Target
from appliance.settings.schema import Settings

STEP_SECONDS = 10.0  # somebody waits for the answer
MAX_ADDRESSES = 2

_FIXES = {
    Say.HOST_NOT_FOUND: "Look at the smarthost's name: there may be a slip in it.",
    Say.REFUSED_CONNECTION: "Look at the port: 587 with STARTTLS, 465 with TLS from the start.",
    Say.TIMED_OUT: "Look at the port, and whether the line lets it through.",
    Say.NOT_SMTP: "Look at port and encryption: they belong together.",
    Say.TLS_MISSING: "Choose another way of encryption, or another port.",
    Say.TLS_FAILED: "Look at port and encryption: 465 is TLS from the start, 587 STARTTLS.",
    Say.TLS_UNTRUSTED: "Write the smarthost's name as its certificate has it.",
    Say.SIGN_IN_REFUSED: "Type user name and password again, as the provider gave them.",
    Say.SIGN_IN_MISSING: "Ask the provider: some sign in by address, without a user name.",
}


async def check(
    settings: Settings, resolver: Resolver, own_name: str, *, cafile: str = ""
) -> list[Finding]:
    """Each step as a finding, the last one good or bad. Raises Refused without a smarthost."""
    if not settings.outbound.smarthost_host:
        raise Refused.because(
            "smarthost", "No smarthost is set.", "Fill in its name first, and save."
        )
    route, found = smarthost(settings), list[Finding]()
    try:
        addresses = await targets.find(route, resolver, own_name)
    except DeliveryTrouble as trouble:
        return [_bad("name", trouble)]
    found.append(_good("name", "The smarthost's name was found.", _listed(addresses)))
    patience = Patience(own_name, STEP_SECONDS, STEP_SECONDS, cafile)
    trial: list[Finding] = []
    for target in addresses[:MAX_ADDRESSES]:
        trial = await _try(target, route, patience)
        if trial[0].result is Result.OK:  # it was there: another address would say the same
            break
    return found + trial


async def _try(target: Target, route: Route, patience: Patience) -> list[Finding]:
    connection, found = Connection(target, patience), list[Finding]()
    step = "connect"
    try:
        await connection.dial(route.tls)
        found.append(_good("connect", "The smarthost answers.", str(target)))
        step = "greeting"
        await connection.greet()
        found.append(_good("greeting", "It speaks the language of mail.", connection.peer_name))
        step = "encryption"
        if route.tls not in (Tls.NONE, Tls.IMPLICIT):
            await connection.start_tls(Demand(route.tls))
        found.append(_encryption(connection.tls_version))
        step = "sign-in"
        if route.user:
            await connection.sign_in(route)
            found.append(_good("sign-in", "User name and password are accepted.", route.user))
    except DeliveryTrouble as trouble:
        found.append(_bad(step, trouble))
    finally:
        await connection.quit()
    return found


def _encryption(version: str) -> Finding:
    if version:
        return _good("encryption", "The connection is encrypted.", version)
    clear = _good("encryption", "The connection is not encrypted.", "")
    return replace(clear, result=Result.WARN, fix="Choose STARTTLS where the provider has it.")


def _good(step: str, say: str, means: str) -> Finding:
    return Finding(check=f"smarthost.{step}", result=Result.OK, say=say, means=means)


def _bad(step: str, trouble: DeliveryTrouble) -> Finding:
    return Finding(
        check=f"smarthost.{step}",
        result=Result.BAD,
        say=trouble.say.value,
        means=trouble.reply,
        fix=_FIXES.get(trouble.say, ""),
    )


def _listed(addresses: list[Target]) -> str:
    return ", ".join(dict.fromkeys(target.address for target in addresses))
