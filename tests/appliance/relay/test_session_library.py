"""What the session leans on in aiosmtpd, held against the pinned version."""

from __future__ import annotations

import asyncio
from importlib.metadata import version
from pathlib import Path

from aiosmtpd.smtp import SMTP

from appliance.base.clock import SystemClock
from appliance.dns.resolver import FakeResolver
from appliance.policy.verdict import Port
from appliance.relay.mail_log import MailLog
from appliance.relay.session import Session
from appliance.relay.shop import Shop
from appliance.spool.store import Spool

# Set by the library's constructor and used by nothing that we inherit.
NOT_NEEDED = {
    "__ident__", "_SMTP__ident__", "data_size_limit", "_decode_data", "require_starttls",
    "_timeout_duration", "_auth_require_tls", "_proxy_timeout", "_authenticator",
    "_auth_callback", "_auth_required", "_auth_methods", "_ehlo_hook_ver", "_smtp_methods",
    "_enforce_call_limit", "_call_limit_default",
}  # fmt: skip
USED = {
    "connection_made", "connection_lost", "smtp_STARTTLS", "_create_session",
    "_cb_client_connected",
}  # fmt: skip


def test_the_version_is_the_one_that_was_read() -> None:
    assert version("aiosmtpd") == "1.4.6"


def test_all_that_the_library_sets_is_set_or_known_to_be_unused(tmp_path: Path) -> None:
    async def work() -> set[str]:
        spool = await Spool.open(tmp_path, clock=SystemClock())
        shop = Shop(spool, SystemClock(), FakeResolver(), MailLog(echo=False))
        ours = Session(shop, Port.SMTP, None)
        theirs = SMTP(object(), hostname="x", loop=asyncio.get_running_loop())
        await spool.close()
        return set(vars(theirs)) - set(vars(ours))

    assert asyncio.run(work()) <= NOT_NEEDED


def test_what_we_inherit_is_still_there() -> None:
    assert set(vars(SMTP)) >= USED
