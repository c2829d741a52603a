"""Delivery into mailboxes by LMTP (RFC 2033): like SMTP, but each recipient has its own answer
after the content.

Reports are ours to write, for there is nobody behind: no DSN parameters go out (Dovecot refuses
them), and a success is final.
"""

from collections.abc import Sequence
from dataclasses import replace

from appliance.mail.envelope import Recipient
from appliance.relay.reasons import DeliveryTrouble
from appliance.relay.smtp_out import Connection, Parcel, Result, result_of
from appliance.relay.wire import ServerReply


class LmtpConnection(Connection):
    """One connection to the server of the mailboxes."""

    hello_verb = "LHLO"

    async def _hello(self) -> None:
        await super()._hello()
        self.extensions.pop("DSN", None)

    async def _taken(self, rcpts: Sequence[ServerReply]) -> list[Result]:
        """One reply for each recipient that was accepted, in their order.

        Where the connection breaks off in between, those that were answered for have arrived.
        """
        results: list[Result] = []
        trouble: DeliveryTrouble | None = None
        for reply in rcpts:
            if not reply.is_good:
                results.append(result_of(reply))
                continue
            if trouble is None:
                try:
                    found = result_of(await self._read_final())
                    results.append(replace(found, is_final=found.delivered))
                    continue
                except DeliveryTrouble as error:
                    trouble = error
                    self.is_usable = False
            results.append(Result(trouble.say, trouble.reply, trouble.status))
        return results

    async def _take_back(self, data: ServerReply) -> None:
        """RFC 2033 §4.2: without recipients there is no 354; one that comes ends the talk."""
        if data.code == 354:
            self.is_usable = False
            return
        await super()._take_back(data)

    def _needs_utf8(self, parcel: Parcel) -> bool:
        """A mailbox takes the header as it is; only a local part must be spelt."""
        return any(not entry.address.local.isascii() for entry in parcel.recipients)

    def _rcpt_command(self, recipient: Recipient) -> str:
        return f"RCPT TO:<{self._written(recipient.address)}>"
